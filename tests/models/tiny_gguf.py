"""Writes GGUF files of a few hundred bytes: whole headers, with or without weights."""

import struct
from collections.abc import Sequence

ALIGNMENT = 32


def tiny_gguf(
    *,
    file_type: int = 15,
    parameters: int = 1000,
    architecture: str = "tiny",
    template: bool = True,
    context: bytes = struct.pack("<II", 4, 512),
    words: bool = True,
    tensors: int = 1,
    more: Sequence[bytes] = (),
    weights: bool = False,
) -> bytes:
    """Returns a GGUF file that says it is of this type (15: Q4_K_M, a form that is kept as it is) and size.

    Args:
        file_type, parameters, architecture, template: what it says of itself.
        context: its context length as kind and value; b"" leaves it out.
        words: whether it has a vocabulary.
        tensors: how many, each of `parameters` 32-bit floats.
        more: entries besides.
        weights: whether what the tensors hold is there.
    """
    vocabulary = entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + _string("a") + _string("bc"))
    entries = [
        text("general.architecture", architecture),
        text("general.name", "Tiny"),
        text("general.license", "cc0"),
        entry("general.file_type", 4, struct.pack("<I", file_type)),
        *([_string(f"{architecture}.context_length") + context] if context else []),
        *([vocabulary] if words else []),
        entry("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 2) + struct.pack("<2f", 0.5, 1.5)),
        entry("tokenizer.ggml.add_bos_token", 7, b"\x01"),
        *more,
    ]
    if template:
        entries.append(text("tokenizer.chat_template", "{{ messages }}"))
    size = 4 * parameters
    shape = struct.pack("<IQQ", 2, 10, parameters // 10)
    described = b"".join(
        _string(f"weights.{number}") + shape + struct.pack("<IQ", 0, number * size) for number in range(tensors)
    )
    header = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(entries)) + b"".join(entries) + described
    if not weights:
        return header
    return header + bytes(-len(header) % ALIGNMENT + size * tensors)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def text(key: str, value: str) -> bytes:
    return entry(key, 8, _string(value))
