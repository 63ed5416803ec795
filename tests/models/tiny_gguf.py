"""Writes GGUF files of a few hundred bytes: whole headers, no weights."""

import struct


def tiny_gguf(
    *, file_type: int = 15, parameters: int = 1000, architecture: str = "tiny", template: bool = True
) -> bytes:
    """Returns a GGUF file that says it is of this type (15: Q4_K_M, a form that is kept as it is) and size."""
    entries = [
        _text("general.architecture", architecture),
        _text("general.name", "Tiny"),
        _text("general.license", "cc0"),
        _entry("general.file_type", 4, struct.pack("<I", file_type)),
        _entry(f"{architecture}.context_length", 4, struct.pack("<I", 512)),
        _entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + _string("a") + _string("bc")),
        _entry("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 2) + struct.pack("<2f", 0.5, 1.5)),
        _entry("tokenizer.ggml.add_bos_token", 7, b"\x01"),
    ]
    if template:
        entries.append(_text("tokenizer.chat_template", "{{ messages }}"))
    tensor = _string("weights") + struct.pack("<IQQ", 2, 10, parameters // 10) + struct.pack("<IQ", 0, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries) + tensor


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _text(key: str, value: str) -> bytes:
    return _entry(key, 8, _string(value))
