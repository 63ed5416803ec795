"""How large an image is once unpacked, as far as its file says so without being read through.

xz: the index at the end of each stream (the .xz file format, 1.1.0, sections 2.1.2 and 4); zip: the directory;
zstd: the frame's header, where its maker put the size there and there is one frame. gzip does not say: its field wraps
around at 4 GiB.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import zstandard

_XZ_FOOTER_BYTES = 12
_XZ_HEADER_BYTES = 12
_XZ_INDEX_BYTES_MAX = 16 * 1024 * 1024  # a record of about 8 bytes for each block of 1 MiB: 2 TB
_ZSTD_HEADER_BYTES_MAX = 18


def unpacked_size(path: Path, compression: str) -> int | None:
    """Returns the unpacked size in bytes, or `None` where the file does not tell it. A hint: nothing is verified."""
    try:
        match compression:
            case "none":
                return path.stat().st_size
            case "xz":
                return _xz_size(path)
            case "zstd":
                return _zstd_size(path)
            case "zip":
                with zipfile.ZipFile(path) as archive:
                    return max((info.file_size for info in archive.infolist()), default=None)
    except (OSError, ValueError, IndexError, struct.error, zipfile.BadZipFile, zstandard.ZstdError):
        pass  # reading the image will say what is wrong with it
    return None


def _zstd_size(path: Path) -> int | None:
    with path.open("rb") as file:
        size: int = zstandard.frame_content_size(file.read(_ZSTD_HEADER_BYTES_MAX))
    # one that says 0 or "unknown" (-1) was written as a stream, or as several frames
    return size if size > 0 else None


def _xz_size(path: Path) -> int | None:
    """Walks the streams from the last to the first."""
    total = 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end > 0:
            file.seek(end - 4)
            if file.read(4) == b"\0\0\0\0":  # padding between streams
                end -= 4
                continue
            file.seek(end - _XZ_FOOTER_BYTES)
            footer = file.read(_XZ_FOOTER_BYTES)
            if footer[-2:] != b"YZ":
                return None
            index_bytes = (struct.unpack_from("<I", footer, 4)[0] + 1) * 4
            if index_bytes > min(_XZ_INDEX_BYTES_MAX, end):
                return None
            file.seek(end - _XZ_FOOTER_BYTES - index_bytes)
            packed, unpacked = _read_index(file.read(index_bytes))
            total += unpacked
            end -= _XZ_FOOTER_BYTES + index_bytes + packed + _XZ_HEADER_BYTES
    return total if end == 0 else None


def _read_index(index: bytes) -> tuple[int, int]:
    """Returns the bytes that the blocks take in the file, and those they hold."""
    if index[0] != 0:
        raise ValueError("no index")
    position = 1
    count, position = _read_number(index, position)
    packed = unpacked = 0
    for _ in range(count):
        block_packed, position = _read_number(index, position)
        block_unpacked, position = _read_number(index, position)
        packed += (block_packed + 3) // 4 * 4
        unpacked += block_unpacked
    return packed, unpacked


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
