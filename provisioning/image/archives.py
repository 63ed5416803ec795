"""Reads a disk image, packed or not, as one stream of bytes: all that its file says it holds, or an error."""

from __future__ import annotations

import contextlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, final

from provisioning.image.errors import ImageError, corrupt, truncated
from provisioning.image.formats import START_BYTES, Compression, compression_of, packed_with, strange_format
from provisioning.image.stated_size import AmissError, stated_size
from provisioning.image.streams import unpack
from provisioning.image.zipped import open_member

CHUNK_BYTES = 4 * 1024 * 1024  # large enough for a card's erase blocks, small beside any memory


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
    """The disk's size, where the file states it."""
    _pieces: Iterator[bytes] = field(repr=False)
    _file: BinaryIO = field(repr=False)

    @property
    def packed_position(self) -> int:
        """How much of the file has been read: progress, whatever it is packed with."""
        return min(self._file.tell(), self.packed_bytes)

    def chunks(self) -> Iterator[bytes]:
        """Yields the unpacked bytes in pieces of `CHUNK_BYTES`, the last one shorter. Once only.

        Raises:
            ImageError: the file is corrupt, ends too soon, holds more or less than it states, or cannot be read.
        """
        given = 0
        for chunk in _regrouped(_told(self.path, self._pieces)):
            if given == 0:
                _check_content(self.path, self.compression, chunk)
            given += len(chunk)
            yield chunk
        if self.unpacked_bytes is not None and given != self.unpacked_bytes:
            if self.compression is Compression.NONE:
                raise ImageError(f"{self.path} changed while it was read: wait until it is complete")
            raise corrupt(self.path, f"it contains {given:,} bytes but states {self.unpacked_bytes:,}")
        if given == 0:
            raise ImageError(
                f"{self.path} is empty when unpacked: it is truncated, or made from an empty file; download it again"
            )


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[PackedImage]:
    """Opens an image for reading; see `PackedImage.chunks`.

    A file whose own structure does not hold is read through here, so that it is found out before anything is written.

    Raises:
        ImageError: it is not a file we can read, or not whole.
    """
    if not path.is_file():
        raise ImageError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    compression = compression_of(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}") from None
    with file:
        packed_bytes = os.fstat(file.fileno()).st_size
        if packed_bytes == 0:
            raise ImageError(f"{path} is empty")
        if compression is Compression.ZIP:
            with open_member(path, file) as (member, size):
                yield PackedImage(path, compression, packed_bytes, size, _read_out(member), file)
            return
        if compression is Compression.NONE:
            yield PackedImage(path, compression, packed_bytes, packed_bytes, _read_out(file), file)
            return
        stated = _stated_size(path, file, compression)
        file.seek(0)
        yield PackedImage(path, compression, packed_bytes, stated, unpack(path, file, compression), file)


def _stated_size(path: Path, file: BinaryIO, compression: Compression) -> int | None:
    try:
        return stated_size(file, compression)
    except AmissError:
        file.seek(0)
        return sum(len(piece) for piece in _told(path, unpack(path, file, compression)))
    except OSError as error:
        raise _unreadable(path, error) from None


def _check_content(path: Path, compression: Compression, chunk: bytes) -> None:
    """An archive in an archive is no disk."""
    start = chunk[:START_BYTES]
    inner = packed_with(start)
    name = strange_format(start) or (inner.value if inner is not Compression.NONE else "")
    if name and compression is not Compression.NONE:
        raise ImageError(f"{path} contains {name}, not an image: unpack it once and give the result")


def _told(path: Path, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What the libraries say, in our words."""
    try:
        yield from pieces
    except EOFError:
        raise truncated(path) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise corrupt(path, str(error)) from None
    except OSError as error:
        if error.errno is None:  # bz2 in a zip
            raise corrupt(path, str(error)) from None
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} can't be read: {error.strerror or error}")


def _read_out(stream: _Readable) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece


def _regrouped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of `CHUNK_BYTES`: only the last may be short."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)
