"""How large an image is once unpacked, as its file states it, and whether the file is there to its end.

xz: the index at the end of each stream (the .xz file format, 1.1.0, sections 2.1.2 and 4); zstd: the header of each
frame, where its maker put the size there. gzip's field wraps around at 4 GiB and is each member's own, bzip2 has none:
they do not say.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

import zstandard

from provisioning.image.formats import SKIPPABLE_MAGICS, XZ_MAGIC, ZSTD_MAGIC, Compression

_XZ_FOOTER_BYTES = 12
_XZ_HEADER_BYTES = 12
_XZ_INDEX_BYTES_MAX = 16 * 1024 * 1024  # a record of about 8 bytes for each block of 1 MiB: 2 TB
_XZ_NUMBER_BYTES_MAX = 9
_ZSTD_HEADER_BYTES_MAX = 18
_ZSTD_BLOCKS_MAX = 4 * 1024 * 1024  # of 128 KiB: 512 GB. A file of more, tiny ones is not walked through
_SEARCH_BYTES = 64 * 1024


class AmissError(Exception):
    """The file's structure does not hold: it is cut off, damaged, or something was appended. Reading it says which."""


def stated_size(file: BinaryIO, compression: Compression) -> int | None:
    """Returns the unpacked size in bytes; `None` where the file does not state it.

    Raises:
        AmissError: the file does not reach to its end, or has something behind it.
        OSError: the file cannot be read.
    """
    try:
        match compression:
            case Compression.XZ:
                return _xz_size(file)
            case Compression.ZSTD:
                return _zstd_size(file)
    except (ValueError, IndexError, struct.error, zstandard.ZstdError) as error:
        raise AmissError(str(error)) from None
    return None


def _zstd_size(file: BinaryIO) -> int | None:
    """Goes from frame to frame by the sizes of their blocks (RFC 8878, section 3.1.1)."""
    end = file.seek(0, os.SEEK_END)
    position = blocks = total = 0
    known = True
    while position < end:
        file.seek(position)
        start = file.read(_ZSTD_HEADER_BYTES_MAX)
        if start[:4] in SKIPPABLE_MAGICS:
            position += 8 + int(struct.unpack_from("<I", start, 4)[0])
            continue
        if start[:4] != ZSTD_MAGIC:
            raise AmissError("no frame")
        frame = zstandard.get_frame_parameters(start)
        known = known and frame.content_size != zstandard.CONTENTSIZE_UNKNOWN
        total += frame.content_size
        position += zstandard.frame_header_size(start)
        last = False
        while not last:
            file.seek(position)
            (header,) = struct.unpack("<I", file.read(3) + b"\0")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            if kind == 3:
                raise AmissError("no block")
            position += 3 + (1 if kind == 1 else size)  # 1: one byte, repeated
            blocks += 1
            if blocks > _ZSTD_BLOCKS_MAX:
                return None
        position += 4 if frame.has_checksum else 0
    if position != end:
        raise AmissError("cut off")
    return total if known else None


def _xz_size(file: BinaryIO) -> int | None:
    """Walks the streams from the last to the first."""
    total = 0
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        end = _before_padding(file, end)
        footer = _read_at(file, end - _XZ_FOOTER_BYTES, _XZ_FOOTER_BYTES)
        checksum, backward, flags, magic = struct.unpack("<II2s2s", footer)
        if magic != b"YZ" or checksum != zlib.crc32(footer[4:10]):
            raise AmissError("no footer")
        index_bytes = (backward + 1) * 4
        if index_bytes > _XZ_INDEX_BYTES_MAX:
            return None
        end -= _XZ_FOOTER_BYTES + index_bytes
        index = _read_at(file, end, index_bytes)
        if zlib.crc32(index[:-4]) != struct.unpack_from("<I", index, index_bytes - 4)[0]:
            raise AmissError("no index")
        packed, unpacked = _read_index(index)
        total += unpacked
        end -= packed + _XZ_HEADER_BYTES
        if _read_at(file, end, 8) != XZ_MAGIC + flags:
            raise AmissError("no header")
    return total


def _before_padding(file: BinaryIO, end: int) -> int:
    """Where the zeros between two streams begin. They are a multiple of four."""
    position = end
    while position > 0:
        size = min(_SEARCH_BYTES, position)
        kept = len(_read_at(file, position - size, size).rstrip(b"\0"))
        position -= size - kept
        if kept:
            break
    if (end - position) % 4:
        raise AmissError("illegal padding")
    return position


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    if position < 0:
        raise AmissError("cut off")
    file.seek(position)
    return file.read(size)


def _read_index(index: bytes) -> tuple[int, int]:
    """Returns the bytes that the blocks take in the file, and those they hold."""
    if index[0] != 0:
        raise AmissError("no index")
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
    value = 0
    for index in range(_XZ_NUMBER_BYTES_MAX):
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise AmissError("no number")
