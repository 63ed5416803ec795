"""Writes an image so that an unfinished one cannot be taken for a whole one.

The first part of a disk holds its partition table. It is blanked before anything else and written as the very last:
until then no system finds a partition there, whatever was on the disk before. In between, the rest is written and read
back.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from provisioning.image.archives import CHUNK_BYTES, PackedImage
from provisioning.image.errors import ImageError
from provisioning.image.partitions import SECTOR_BYTES, Partition, disk_end, read_partitions

HEAD_BYTES = 1024 * 1024  # partitions begin at or after it on every image of the last fifteen years
ProgressCallback = Callable[[str, int, int], None]
"""Called with what is being done, how far, and of how much (the units do not matter)."""


@final
@dataclass(frozen=True, slots=True)
class Body:
    """What has been written: everything but the head, which is still in memory."""

    head: bytes
    size: int
    """Of the whole image, in bytes."""
    sha256: bytes
    """Of the body alone."""


def write_body(
    image: PackedImage, target: int, capacity: int | None, *, sparse: bool, progress: ProgressCallback
) -> Body:
    """Blanks the head of the target and writes the rest of the image behind it.

    Args:
        image: opened for reading.
        target: the opened target's descriptor.
        capacity: its size in bytes, if it has one.
        sparse: leave holes for zeros. Only for a file that is new or emptied: a used disk holds other bytes there.
        progress: told how much of the packed image is done.

    Raises:
        ImageError: the image is corrupt, truncated or not one; the target is full or fails.
    """
    chunks = image.chunks()
    head, rest = _take_head(chunks)
    head_bytes = _head_size(image, head)
    _write_at(target, bytes(head_bytes), 0, sparse=False)
    _sync(target)
    digest = hashlib.sha256()
    position = head_bytes
    for chunk in _joined(head[head_bytes:] + rest, chunks):
        if capacity is not None and position + len(chunk) > capacity:
            raise ImageError(f"the target is too small: {capacity:,} bytes, and the image is larger")
        digest.update(chunk)
        _write_at(target, chunk, position, sparse=sparse)
        position += len(chunk)
        progress("writing", image.packed_position, image.packed_bytes)
    end = disk_end(head, _partitions(image, head))
    if position < end:
        raise ImageError(
            f"{image.path} is truncated: the disk in it ends at byte {end:,}, the image at {position:,}; "
            "download it again"
        )
    if sparse:
        os.ftruncate(target, position)
    _sync(target)
    return Body(head[:head_bytes], position, digest.digest())


def verify_body(target: int, body: Body, progress: ProgressCallback) -> None:
    """Reads back what was written.

    Raises:
        ImageError: it is not the same: the medium is bad, or something else wrote to it.
    """
    os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)  # from the medium, not from memory
    digest = hashlib.sha256()
    position = len(body.head)
    while position < body.size:
        try:
            chunk = os.pread(target, min(CHUNK_BYTES, body.size - position), position)
        except OSError as error:
            raise ImageError(_failed("reading back", position, error)) from None
        if not chunk:
            break
        digest.update(chunk)
        position += len(chunk)
        progress("verifying", position, body.size)
    if position != body.size or digest.digest() != body.sha256:
        raise ImageError("what was read back is not what was written: the card is bad or counterfeit; use another")


def write_head(target: int, body: Body) -> None:
    """Writes the head, and with it makes the image whole; reads it back.

    Raises:
        ImageError: it could not be written.
    """
    _write_at(target, body.head, 0, sparse=False)
    _sync(target)
    os.posix_fadvise(target, 0, len(body.head), os.POSIX_FADV_DONTNEED)
    if os.pread(target, len(body.head), 0) != body.head:
        raise ImageError("the partition table read back is not what was written: the card is bad; use another")


def blank_head(target: int) -> None:
    """Takes the partition table away again, where a later step failed."""
    _write_at(target, bytes(HEAD_BYTES), 0, sparse=False)
    _sync(target)


def _take_head(chunks: Iterator[bytes]) -> tuple[bytes, bytes]:
    first = next(chunks, b"")
    return first[:HEAD_BYTES], first[HEAD_BYTES:]


def _head_size(image: PackedImage, head: bytes) -> int:
    """Up to the first partition: old images begin it at sector 63."""
    first = min(partition.offset for partition in _partitions(image, head))
    return max(min(len(head), first), SECTOR_BYTES)


def _partitions(image: PackedImage, head: bytes) -> tuple[Partition, ...]:
    try:
        return read_partitions(head)
    except ImageError as error:
        raise ImageError(f"{image.path} {error}") from None


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _write_at(target: int, data: bytes, position: int, *, sparse: bool) -> None:
    if sparse and not any(memoryview(data)[:SECTOR_BYTES]) and data.count(0) == len(data):
        return
    view = memoryview(data)
    while view:
        try:
            written = os.pwrite(target, view, position)
        except OSError as error:
            raise ImageError(_failed("writing", position, error)) from None
        position += written
        view = view[written:]


def _sync(target: int) -> None:
    try:
        os.fsync(target)
    except OSError as error:
        raise ImageError(_failed("writing", 0, error)) from None


def _failed(what: str, position: int, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space left after {position:,} bytes: make room, or give another --to"
    if error.errno == errno.EIO:
        return f"{what} failed near byte {position:,}: the card or its reader is bad; use another"
    return f"{what} failed near byte {position:,}: {error.strerror}"
