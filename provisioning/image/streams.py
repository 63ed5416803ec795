"""Unpacks xz, gzip, bzip2 and zstd from the first byte of a file to its last.

All four may hold several streams one after the other, and each library's own file reader takes something that is not
whole for an end: a damaged second stream, bytes that were appended, a cut. Here a file ends where a stream ends and
nothing follows but the padding that its format allows; everything else is said.
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, final

import zstandard

from provisioning.image.errors import ImageError, corrupt, truncated
from provisioning.image.formats import (
    BZIP2_MAGIC,
    GZIP_MAGIC,
    SKIPPABLE_MAGICS,
    XZ_MAGIC,
    ZSTD_MAGIC,
    Compression,
)

PIECE_BYTES = 4 * 1024 * 1024  # unpacked at once, where the library lets itself be bounded
_READ_BYTES = 64 * 1024
# zstd's reader gives out all that its input holds: 4 bytes may hold 128 KiB, so that these hold 16 MiB at most
_ZSTD_READ_BYTES = 512
_MAGIC_BYTES_MAX = 6


class _Decoder(Protocol):
    """One stream's decoder, as lzma's and bz2's are."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@final
@dataclass(frozen=True, slots=True)
class _Codec:
    new: Callable[[], _Decoder]
    errors: tuple[type[Exception], ...]
    magics: tuple[bytes, ...]
    padding: int = 0
    """Zeros after a stream come in multiples of this; 0: there are none."""
    read_bytes: int = _READ_BYTES


@final
class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)  # verifies checksum and length (modulo 2^32) of each member
        self._full = False

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = self._member.decompress(data or self._member.unconsumed_tail, max_length)
        self._full = len(piece) == max_length
        return piece


@final
class _Zstd:
    needs_input = True

    def __init__(self) -> None:
        # any window (`--long=31` has 2 GiB): it takes memory only as far as it is filled
        limit = 1 << zstandard.WINDOWLOG_MAX
        self._frame = zstandard.ZstdDecompressor(max_window_size=limit).decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, _max_length: int, /) -> bytes:
        return self._frame.decompress(data)


_CODECS = {
    Compression.XZ: _Codec(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), (lzma.LZMAError,), (XZ_MAGIC,), padding=4),
    Compression.GZIP: _Codec(_Gzip, (zlib.error,), (GZIP_MAGIC,), padding=1),
    Compression.BZIP2: _Codec(bz2.BZ2Decompressor, (OSError, ValueError), (BZIP2_MAGIC,)),
    Compression.ZSTD: _Codec(
        _Zstd, (zstandard.ZstdError,), (ZSTD_MAGIC, *SKIPPABLE_MAGICS), read_bytes=_ZSTD_READ_BYTES
    ),
}


def unpack(path: Path, file: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """Yields what all streams of a file hold.

    Args:
        path: the file's name, for messages.
        file: opened, at its first byte.
        compression: one of the four.

    Raises:
        ImageError: a stream is damaged or cut off, or something follows the last one.
        OSError: the file cannot be read.
    """
    codec = _CODECS[compression]
    while _at_stream(path, file, codec, compression):
        yield from _one_stream(path, file, codec)


def _one_stream(path: Path, file: BinaryIO, codec: _Codec) -> Iterator[bytes]:
    decoder = codec.new()
    while not decoder.eof:
        data = b""
        if decoder.needs_input:
            data = file.read(codec.read_bytes)
            if not data:
                raise truncated(path)
        try:
            piece = decoder.decompress(data, PIECE_BYTES)
        except MemoryError:
            raise ImageError(f"{path} needs more memory to be unpacked than there is here") from None
        except codec.errors as error:
            raise _damaged(path, file.tell(), error) from None
        if piece:
            yield piece
    file.seek(-len(decoder.unused_data), os.SEEK_CUR)


def _at_stream(path: Path, file: BinaryIO, codec: _Codec, compression: Compression) -> bool:
    """Whether another stream begins here; `False` at the end of the file."""
    end = file.tell()
    padding = _skip_zeros(file) if codec.padding else 0
    if padding and padding % codec.padding:
        what = f"{padding} zeros from byte {end:,} on, no multiple of {codec.padding}: truncated or appended to"
        raise corrupt(path, what)
    start = file.read(_MAGIC_BYTES_MAX)
    if not start:
        return False
    if start.startswith(codec.magics):
        file.seek(-len(start), os.SEEK_CUR)
        return True
    if any(magic.startswith(start) for magic in codec.magics):
        raise truncated(path)
    raise ImageError(
        f"{path}: its data end before byte {end + padding:,}, and what follows there is no {compression}: "
        "it is corrupt, or something was appended; download it again"
    )


def _skip_zeros(file: BinaryIO) -> int:
    """Goes on to the first byte that is not zero; returns how many were."""
    skipped = 0
    while block := file.read(_READ_BYTES):
        rest = block.lstrip(b"\0")
        skipped += len(block) - len(rest)
        if rest:
            file.seek(-len(rest), os.SEEK_CUR)
            break
    return skipped


def _damaged(path: Path, position: int, error: Exception) -> ImageError:
    said = str(error)
    if "not enough memory" in said or "too much memory" in said:
        return ImageError(f"{path} needs more memory to be unpacked than there is here")
    if "Dictionary mismatch" in said:
        return ImageError(f"{path} was packed with a dictionary: unpack it with that (`zstd -d -D DICTIONARY`) first")
    if "unsupported options" in said:  # liblzma: a filter that is newer than the library
        return ImageError(f"{path} is corrupt or packed by a newer xz ({said}): download it again, or unpack it there")
    return corrupt(path, f"near byte {position:,}: {said}")
