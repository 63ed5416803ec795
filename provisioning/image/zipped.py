"""Finds the one image in a zip archive."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from provisioning.image.errors import ImageError, corrupt, truncated

_IMAGE_SUFFIXES = (".img", ".raw", ".iso")
_NAMES_SHOWN_MAX = 5
_END_RECORD = struct.Struct("<20xH")  # ends with the length of the comment that follows it
_COMMENT_BYTES_MAX = 0xFFFF
_END_RECORD_MAGIC = b"PK\x05\x06"
# What the library raises for directories that are damaged in one place or another.
_DIRECTORY_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, LookupError)


@contextlib.contextmanager
def open_member(path: Path, file: BinaryIO) -> Iterator[tuple[IO[bytes], int]]:
    """Opens the image in an archive; gives it with its size as the directory states it.

    Raises:
        ImageError: the archive is damaged, or does not hold exactly one image that can be unpacked.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _DIRECTORY_ERRORS as error:
        raise _no_directory(path, file, error) from None
    with archive:
        _check_ends(path, file, archive)
        member = _only_image(path, archive)
        if member.flag_bits & 1:
            raise ImageError(f"{path} is encrypted; unpack it first")
        try:
            stream = archive.open(member)
        except NotImplementedError:
            raise ImageError(
                f"{path}: {_shown(member.filename)} is compressed with an unknown method "
                f"({member.compress_type}); unpack it first"
            ) from None
        except (*_DIRECTORY_ERRORS, RuntimeError) as error:
            raise corrupt(path, str(error)) from None
        with stream:
            yield stream, member.file_size


def _no_directory(path: Path, file: BinaryIO, error: Exception) -> ImageError:
    end = _end_of_archive(file)
    whole = end is not None and end <= file.seek(0, os.SEEK_END)
    return corrupt(path, str(error)) if whole else truncated(path)


def _check_ends(path: Path, file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Nothing in front of the first member or behind the directory: another archive may hold what is meant."""
    end = _end_of_archive(file)
    size = file.seek(0, os.SEEK_END)
    if end is None or end > size:
        raise truncated(path)
    if end < size:
        raise ImageError(
            f"{path}: there is data after its end: it is corrupt, or something was appended; download it again"
        )
    first = min((info.header_offset for info in archive.infolist()), default=0)
    if first != 0:
        raise ImageError(
            f"{path}: {first:,} bytes precede its first file: it is corrupt, or two archives in one; "
            "unpack it and give the image"
        )


def _end_of_archive(file: BinaryIO) -> int | None:
    """Where the archive ends by its own word, which may be behind the file's end; `None` if it has no such word."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _END_RECORD.size - _COMMENT_BYTES_MAX))
    tail = file.read()
    found = tail.rfind(_END_RECORD_MAGIC)
    if found < 0:
        return None
    record = tail[found : found + _END_RECORD.size]
    comment_bytes = _END_RECORD.unpack(record)[0] if len(record) == _END_RECORD.size else 0
    return int(start + found + _END_RECORD.size + comment_bytes)


def _only_image(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir() and not _is_of_the_desktop(info.filename)]
    images = [info for info in members if info.filename.lower().endswith(_IMAGE_SUFFIXES)]
    chosen = images or members
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise ImageError(f"{path} holds no file")
    names = ", ".join(_shown(info.filename) for info in chosen[:_NAMES_SHOWN_MAX])
    more = f" and {len(chosen) - _NAMES_SHOWN_MAX} more" if len(chosen) > _NAMES_SHOWN_MAX else ""
    what = "images" if images else "files, none of them named as an image"
    raise ImageError(f"{path} holds {len(chosen)} {what} ({names}{more}); unpack it and give the one that you want")


def _is_of_the_desktop(name: str) -> bool:
    """What macOS and Windows put beside the files that are meant."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _shown(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)
