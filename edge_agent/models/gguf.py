"""Reads the header of a GGUF file with the standard library: what the model is, without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
STRING_BYTES_MAX = 16 * 1024 * 1024  # chat templates are some KiB; more is a broken file
ENTRIES_MAX = 1_000_000  # metadata keys and tensors, of which models have some hundreds
DIMENSIONS_MAX = 8  # of a tensor; ggml knows 4
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


def read_header(path: Path) -> GgufHeader:
    """Reads the header of a model file.

    Raises:
        OSError: the file can't be read.
        ValueError: it is not a GGUF file of version 2 or 3, or is cut off within its header.
    """
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise ValueError(f"{path} is not a GGUF model file")
        try:
            version, tensor_count, entry_count = struct.unpack("<IQQ", _read(file, 20))
            if version not in (2, 3) or max(tensor_count, entry_count) > ENTRIES_MAX:
                raise ValueError(f"version {version} with {tensor_count} tensors and {entry_count} entries")
            metadata = dict(_read_entry(file) for _ in range(entry_count))
            parameter_count = sum(_read_tensor_size(file) for _ in range(tensor_count))
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} has no readable GGUF header: {error}") from None
    return _to_header(metadata, parameter_count)


def _to_header(metadata: dict[str, Scalar | None], parameter_count: int) -> GgufHeader:
    architecture = str(metadata.get("general.architecture") or "")
    file_type = metadata.get("general.file_type")
    return GgufHeader(
        architecture=architecture,
        name=str(metadata.get("general.name") or ""),
        licence=str(metadata.get("general.license") or ""),
        file_type=FILE_TYPES.get(file_type, "unknown") if isinstance(file_type, int) else "unknown",
        parameter_count=parameter_count,
        context_tokens=int(metadata.get(f"{architecture}.context_length") or 0),
        has_chat_template="tokenizer.chat_template" in metadata,
    )


def _read_entry(file: BinaryIO) -> tuple[str, Scalar | None]:
    key = _read_string(file)
    (kind,) = struct.unpack("<I", _read(file, 4))
    return key, _read_value(file, kind)


def _read_value(file: BinaryIO, kind: int) -> Scalar | None:
    """Returns a scalar; arrays (vocabularies, mostly) are skipped."""
    if kind == _STRING:
        return _read_string(file)
    if kind == _ARRAY:
        _skip_array(file)
        return None
    if kind not in _SCALARS:
        raise ValueError(f"unknown value type {kind}")
    layout = "<" + _SCALARS[kind]
    value: Scalar = struct.unpack(layout, _read(file, struct.calcsize(layout)))[0]
    return value


def _skip_array(file: BinaryIO) -> None:
    kind, count = struct.unpack("<IQ", _read(file, 12))
    if kind == _ARRAY:
        raise ValueError("arrays of arrays are not in use")
    if kind == _STRING:
        for _ in range(count):
            _read(file, _read_length(file))
    elif kind in _SCALARS:
        file.seek(count * struct.calcsize("<" + _SCALARS[kind]), 1)
    else:
        raise ValueError(f"unknown value type {kind}")


def _read_tensor_size(file: BinaryIO) -> int:
    _read_string(file)
    (dimension_count,) = struct.unpack("<I", _read(file, 4))
    if dimension_count > DIMENSIONS_MAX:
        raise ValueError(f"a tensor of {dimension_count} dimensions")
    dimensions = struct.unpack(f"<{dimension_count}Q", _read(file, 8 * dimension_count))
    _read(file, 12)  # its type and its place
    return math.prod(dimensions)


def _read_string(file: BinaryIO) -> str:
    return _read(file, _read_length(file)).decode("utf-8", "replace")


def _read_length(file: BinaryIO) -> int:
    (length,) = struct.unpack("<Q", _read(file, 8))
    if length > STRING_BYTES_MAX:
        raise ValueError(f"a text of {length} bytes")
    return int(length)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the file is cut off")
    return data
