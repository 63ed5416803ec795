"""How disk images are packed, told by their first bytes, whatever their names say."""

from __future__ import annotations

import struct
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from provisioning.image.errors import ImageError

START_BYTES = 512
"""As many of the first bytes as `strange_format` looks at."""
_BOOT_MARK = slice(510, 512)


class Compression(StrEnum):
    """How an image is packed."""

    NONE = "none"
    XZ = "xz"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    ZSTD = "zstd"
    ZIP = "zip"


XZ_MAGIC = b"\xfd7zXZ\x00"
GZIP_MAGIC = b"\x1f\x8b"
BZIP2_MAGIC = b"BZh"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Frames for other programs' use, which every reader passes over (RFC 8878, 3.1.2); pzstd begins with one.
SKIPPABLE_MAGICS = tuple(bytes([low, 0x2A, 0x4D, 0x18]) for low in range(0x50, 0x60))
_SKIPPABLE_HEADER = struct.Struct("<4sI")
_SKIPPED_FRAMES_MAX = 1000  # one for each frame of a file that is cut in pieces; more in front of the first is no image
_MAGICS = {
    XZ_MAGIC: Compression.XZ,
    GZIP_MAGIC: Compression.GZIP,
    BZIP2_MAGIC: Compression.BZIP2,
    ZSTD_MAGIC: Compression.ZSTD,
    b"PK\x03\x04": Compression.ZIP,
    b"PK\x05\x06": Compression.ZIP,  # with nothing in it
    b"PK\x07\x08": Compression.ZIP,  # the first of several parts
}
_STRANGE_MAGICS = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
    b"LZIP": "lzip",
    b"\x89LZO": "lzop",
    b"\x1f\x9d": "packed with compress (.Z)",
    b"\x5d\x00\x00": "lzma",
    b"MSCF": "cab",
    b"QFI\xfb": "qcow2",
    b"KDMV": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vhd",
    b"\x3a\xff\x26\xed": "an Android sparse image",
}
_STRANGE_MAGICS_WITHIN = {(257, b"ustar"): "a tar archive", (64, b"\x7f\x10\xda\xbe"): "vdi"}
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")
_SUFFIXES = {
    ".xz": Compression.XZ,
    ".gz": Compression.GZIP,
    ".bz2": Compression.BZIP2,
    ".zst": Compression.ZSTD,
    ".zip": Compression.ZIP,
    ".img": Compression.NONE,
    ".raw": Compression.NONE,
    ".iso": Compression.NONE,
}


def compression_of(path: Path) -> Compression:
    """Tells how an image is packed.

    Raises:
        ImageError: it cannot be read, is in a format we do not unpack, or its name and its content disagree: a card
            filled with packed bytes does not boot.
    """
    try:
        with path.open("rb") as file:
            start = _first_start(file)
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}") from None
    if start.lstrip().lower().startswith(_WEB_PAGE):
        raise ImageError(f"{path} is a web page, not an image: the server sent something else; download it again")
    if strange := strange_format(start):
        raise ImageError(f"{path} is {strange}: convert it to a raw, .xz, .gz, .bz2, .zst or .zip image first")
    found = packed_with(start)
    named = _SUFFIXES.get(path.suffix.lower(), found)
    if named is not found:
        has = "not packed" if found is Compression.NONE else f"compressed with {found}"
        raise ImageError(f"{path} is {has}, though its name ends in {path.suffix}: download it again, or rename it")
    return found


def packed_with(start: bytes) -> Compression:
    """Returns what a file that begins so is packed with."""
    if start[:4] in SKIPPABLE_MAGICS:
        return Compression.ZSTD
    return next((kind for magic, kind in _MAGICS.items() if start.startswith(magic)), Compression.NONE)


def strange_format(start: bytes) -> str:
    """Returns the name of a format that we do not read; "" for what may be an image, `START_BYTES` of which are given.

    A disk's first bytes are a program, which may begin as it likes; a disk has its mark at the end of the sector.
    """
    if start[_BOOT_MARK] == b"\x55\xaa":
        return ""
    for magic, name in _STRANGE_MAGICS.items():
        if start.startswith(magic):
            return name
    for (offset, magic), name in _STRANGE_MAGICS_WITHIN.items():
        if start[offset : offset + len(magic)] == magic:
            return name
    return ""


def _first_start(file: BinaryIO) -> bytes:
    """The first bytes that say something: lz4 has the same frames to be skipped as zstd."""
    first = start = file.read(START_BYTES)
    for _ in range(_SKIPPED_FRAMES_MAX):
        if start[:4] not in SKIPPABLE_MAGICS or len(start) < _SKIPPABLE_HEADER.size:
            break
        _, size = _SKIPPABLE_HEADER.unpack_from(start)
        file.seek(size + _SKIPPABLE_HEADER.size - len(start), 1)
        start = file.read(START_BYTES)
    return start if strange_format(start) else first
