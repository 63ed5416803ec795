"""Reads a disk image, packed or not, as one stream of bytes.

What it is packed with is told by its first bytes; a name that says something else is an error, not a guess: a card
filled with compressed bytes does not boot.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, BinaryIO, Protocol, final

import zstandard

from provisioning.image.errors import ImageError
from provisioning.image.unpacked_size import unpacked_size

CHUNK_BYTES = 4 * 1024 * 1024  # large enough for a card's erase blocks, small beside any memory
_MAGIC_BYTES = 8


class Compression(StrEnum):
    """How an image is packed."""

    NONE = "none"
    XZ = "xz"
    GZIP = "gzip"
    ZSTD = "zstd"
    ZIP = "zip"


_MAGIC = {
    b"\xfd7zXZ\x00": Compression.XZ,
    b"\x1f\x8b": Compression.GZIP,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
    b"PK\x03\x04": Compression.ZIP,
}
_FOREIGN_MAGIC = {b"BZh": "bzip2", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"QFI\xfb": "qcow2", b"KDMV": "vmdk"}
_SUFFIXES = {
    ".xz": Compression.XZ,
    ".gz": Compression.GZIP,
    ".zst": Compression.ZSTD,
    ".zip": Compression.ZIP,
    ".img": Compression.NONE,
    ".raw": Compression.NONE,
    ".iso": Compression.NONE,
}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@final
@dataclass(frozen=True, slots=True)
class PackedImage:
    """An image opened for reading."""

    path: Path
    compression: Compression
    packed_bytes: int
    """The file's own size."""
    unpacked_bytes: int | None
    """The disk's size, where the file tells it before it is read to the end."""
    _stream: _Readable
    _file: BinaryIO

    @property
    def packed_position(self) -> int:
        """How much of the file has been read: progress, whatever it is packed with."""
        return min(self._file.tell(), self.packed_bytes)

    def chunks(self) -> Iterator[bytes]:
        """Yields the unpacked bytes in pieces of `CHUNK_BYTES`, the last one shorter.

        Raises:
            ImageError: the file is corrupt or ends too soon, or cannot be read.
        """
        while True:
            try:
                chunk = _read_fully(self._stream, CHUNK_BYTES)
            except EOFError:
                raise ImageError(f"{self.path} ends too soon: it is truncated; download it again") from None
            except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, zstandard.ZstdError) as error:
                raise ImageError(f"{self.path} is corrupt ({error}); download it again") from None
            except OSError as error:
                raise ImageError(f"{self.path} can't be read: {error.strerror or error}") from None
            if not chunk:
                return
            yield chunk


def compression_of(path: Path) -> Compression:
    """Tells how an image is packed.

    Raises:
        ImageError: it cannot be read, is in a format we do not unpack, or its name and its content disagree.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_MAGIC_BYTES)
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}") from None
    for magic, name in _FOREIGN_MAGIC.items():
        if start.startswith(magic):
            raise ImageError(f"{path} is {name}: convert it to a raw, .xz, .gz, .zst or .zip image first")
    found = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), Compression.NONE)
    named = _SUFFIXES.get(path.suffix.lower(), found)
    if named is not found:
        has = "not packed" if found is Compression.NONE else f"packed with {found}"
        raise ImageError(f"{path} is {has}, though its name ends in {path.suffix}: download it again, or rename it")
    return found


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[PackedImage]:
    """Opens an image for reading; see `PackedImage.chunks`.

    Raises:
        ImageError: it is not a file we can read.
    """
    if not path.is_file():
        raise ImageError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    compression = compression_of(path)
    try:
        with path.open("rb") as file, _unpacked(path, file, compression) as stream:
            size = path.stat().st_size
            if size == 0:
                raise ImageError(f"{path} is empty")
            yield PackedImage(path, compression, size, unpacked_size(path, compression), stream, file)
    except zipfile.BadZipFile as error:
        raise ImageError(f"{path} is corrupt ({error}); download it again") from None


@contextlib.contextmanager
def _unpacked(path: Path, file: BinaryIO, compression: Compression) -> Iterator[_Readable]:
    match compression:
        case Compression.NONE:
            yield file
        case Compression.XZ:
            with lzma.open(file, "rb") as stream:
                yield stream
        case Compression.GZIP:
            with gzip.open(file, "rb") as stream:
                yield stream
        case Compression.ZSTD:
            yield _ZstdReader(file)
        case Compression.ZIP:
            with zipfile.ZipFile(file) as archive, archive.open(_only_image(path, archive)) as member:
                yield member


def _only_image(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir()]
    images = [info for info in members if info.filename.lower().endswith(".img")]
    chosen = images or members
    if len(chosen) != 1:
        raise ImageError(f"{path} holds {len(chosen)} images; unpack it and give the one you mean")
    if chosen[0].flag_bits & 1:
        raise ImageError(f"{path} is encrypted; unpack it first")
    return chosen[0]


class _ZstdReader:
    """Reads zstd frames to their ends. The library's own reader takes a truncated file for a finished one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame = self._decompressor.decompressobj()
        self._frame_begun = False
        self._pending = b""

    def read(self, size: int, /) -> bytes:
        """Returns up to `size` bytes; b"" at the end.

        Raises:
            EOFError: the file ends within a frame.
        """
        while not self._pending:
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._frame_begun = self._decompressor.decompressobj(), False
            packed = packed or self._file.read(64 * 1024)
            if not packed:
                if self._frame_begun:
                    raise EOFError
                return b""
            self._frame_begun = True
            self._pending = self._frame.decompress(packed)
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece


def _read_fully(stream: _Readable, size: int) -> bytes:
    """Reads until `size` bytes are there or the stream ends: only the last piece may be short."""
    parts: list[bytes] = []
    while size:
        part = stream.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
