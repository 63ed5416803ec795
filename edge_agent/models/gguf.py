"""Reads the header of a GGUF file with the standard library: what the model is, without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian). Whatever a file
says is read within bounds: it may come from anybody.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
STRING_BYTES_MAX = 16 * 1024 * 1024  # chat templates are some KiB; more is a broken file
METADATA_BYTES_MAX = 64 * 1024 * 1024  # of all texts that are kept
ENTRIES_MAX = 1_000_000  # metadata keys and tensors, of which models have some hundreds
ARRAY_ITEMS_MAX = 16_000_000  # the largest vocabularies have some hundred thousand words, and as many merges
DIMENSIONS_MAX = 8  # of a tensor; ggml knows 4
CONTEXT_TOKENS_MAX = 100_000_000  # ten times the longest that has been published
TEXT_LENGTH_MAX = 200  # of a name or licence that is shown
_ALIGNMENT_DEFAULT, _ALIGNMENT_MAX = 32, 1024 * 1024
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# The part of llama.cpp's `enum llama_ftype` that models are commonly stored in.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}

# Of ggml's `enum ggml_type`: how many weights a block holds, and its bytes. A type that is not here has no known size.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    30: (1, 2),
}

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model says of itself. Empty or 0 where it says nothing."""

    architecture: str
    name: str
    licence: str
    file_type: str
    """How the weights are stored, such as `Q4_1`; `unknown` for rarer ones."""
    parameter_count: int
    context_tokens: int
    has_chat_template: bool


@dataclass(frozen=True, slots=True)
class Gguf:
    """All of a header. Arrays stand in `metadata` as `None`: that they are there."""

    metadata: dict[str, Scalar | None]
    tensor_count: int
    parameter_count: int
    size: int
    """Where the last tensor ends, in bytes: how large a whole file is at least."""

    @property
    def architecture(self) -> str:
        """The family of models whose arithmetic this one's is."""
        return _text(self.metadata.get("general.architecture"))

    def own(self, key: str) -> Scalar | None:
        """A value that is named after the architecture."""
        return self.metadata.get(f"{self.architecture}.{key}")


@dataclass(frozen=True, slots=True)
class _Tensor:
    weights: int
    offset: int
    size: int


def read_header(path: Path) -> GgufHeader:
    """Reads the header of a model file.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not a GGUF file of version 2 or 3, is cut off within its header, or says what can't be.
    """
    return to_header(read_gguf(path))


def read_gguf(path: Path) -> Gguf:
    """Reads all of a header; raises as `read_header` does."""
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ValueError(f"{path} is not a GGUF model file")
        try:
            return _Reader(file).read()
        except (ValueError, EOFError, OverflowError, struct.error) as error:
            raise ValueError(f"{path} has no readable GGUF header: {error}") from None


def to_header(gguf: Gguf) -> GgufHeader:
    """Returns what is of interest."""
    file_type = gguf.metadata.get("general.file_type")
    context = gguf.own("context_length")
    return GgufHeader(
        architecture=gguf.architecture,
        name=_text(gguf.metadata.get("general.name")),
        licence=_text(gguf.metadata.get("general.license")),
        file_type=FILE_TYPES.get(file_type, "unknown") if isinstance(file_type, int) else "unknown",
        parameter_count=gguf.parameter_count,
        context_tokens=context if isinstance(context, int) else 0,
        has_chat_template="tokenizer.chat_template" in gguf.metadata,
    )


class _Reader:
    """Reads a header from behind its magic."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._kept_bytes = 0

    def read(self) -> Gguf:
        version, tensor_count, entry_count = struct.unpack("<IQQ", self._read(20))
        if version not in (2, 3) or max(tensor_count, entry_count) > ENTRIES_MAX:
            raise ValueError(f"version {version} with {tensor_count} tensors and {entry_count} entries")
        metadata: dict[str, Scalar | None] = {}
        for _ in range(entry_count):
            key, value = self._entry()
            if key in metadata:
                raise ValueError(f"{_text(key)} stands in it twice")
            metadata[key] = value
        tensors = [self._tensor() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", _ALIGNMENT_DEFAULT)
        if type(alignment) is not int or not 0 < alignment <= _ALIGNMENT_MAX:
            raise ValueError(f"an alignment of {alignment} bytes")
        start = -(-self._file.tell() // alignment) * alignment
        size = max((start + tensor.offset + tensor.size for tensor in tensors), default=self._file.tell())
        gguf = Gguf(metadata, tensor_count, sum(tensor.weights for tensor in tensors), size)
        _check_context(gguf.own("context_length"))
        return gguf

    def _entry(self) -> tuple[str, Scalar | None]:
        key = self._string()
        (kind,) = struct.unpack("<I", self._read(4))
        return key, self._value(kind)

    def _value(self, kind: int) -> Scalar | None:
        """Returns a scalar; arrays (vocabularies, mostly) are skipped."""
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind not in _SCALARS:
            raise ValueError(f"unknown value type {kind}")
        layout = "<" + _SCALARS[kind]
        value: Scalar = struct.unpack(layout, self._read(struct.calcsize(layout)))[0]
        return value

    def _skip_array(self) -> None:
        kind, count = struct.unpack("<IQ", self._read(12))
        if kind == _ARRAY:
            raise ValueError("arrays of arrays are not in use")
        if count > ARRAY_ITEMS_MAX:
            raise ValueError(f"an array of {count} items")
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._length())
        elif kind in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[kind]))
        else:
            raise ValueError(f"unknown value type {kind}")

    def _tensor(self) -> _Tensor:
        self._string()
        (dimension_count,) = struct.unpack("<I", self._read(4))
        if dimension_count > DIMENSIONS_MAX:
            raise ValueError(f"a tensor of {dimension_count} dimensions")
        dimensions = struct.unpack(f"<{dimension_count}Q", self._read(8 * dimension_count))
        kind, offset = struct.unpack("<IQ", self._read(12))
        weights = math.prod(dimensions)
        in_block, block_bytes = _BLOCKS.get(kind, (1, 0))
        return _Tensor(weights, offset, -(-weights // in_block) * block_bytes)

    def _string(self) -> str:
        length = self._length()
        self._kept_bytes += length
        if self._kept_bytes > METADATA_BYTES_MAX:
            raise ValueError(f"more than {METADATA_BYTES_MAX} bytes of texts")
        return self._read(length).decode("utf-8", "replace")

    def _length(self) -> int:
        (length,) = struct.unpack("<Q", self._read(8))
        if length > STRING_BYTES_MAX:
            raise ValueError(f"a text of {length} bytes")
        return int(length)

    def _skip(self, size: int) -> None:
        # the last byte is read: a file can be sought behind its end
        if size > 0:
            self._file.seek(size - 1, os.SEEK_CUR)
            self._read(1)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file is cut off")
        return data


def _check_context(context: Scalar | None) -> None:
    if context is not None and (type(context) is not int or not 0 < context <= CONTEXT_TOKENS_MAX):
        raise ValueError(f"a context length of {str(context)[:40]!r} tokens")


def _text(value: Scalar | None) -> str:
    """What is shown of it: a file may say what it likes, also to a terminal."""
    shown = str(value or "")[:TEXT_LENGTH_MAX]
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
