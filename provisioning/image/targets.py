"""Where an image is written to, and every reason not to write there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from provisioning.image import block_devices
from provisioning.image.errors import ImageError


@final
@dataclass(frozen=True, slots=True)
class Target:
    """A disk or a file that has passed the checks."""

    path: Path
    """Without symbolic links: what was checked is what is opened."""
    is_disk: bool
    exists: bool
    capacity: int | None
    """In bytes; a file has none."""
    description: str
    device: int
    """The number of the block device, 0 for a file."""
    medium: tuple[str, ...] = ()
    """What tells it from another one in the same slot (`block_devices.medium_of`)."""


def examine(path: Path, image: Path, needed: int | None) -> Target:
    """Checks where the image is to go. Nothing is written.

    Args:
        path: a disk such as /dev/sdb, or a file, which need not exist.
        image: what is to be written.
        needed: bytes, as far as known.

    Raises:
        ImageError: the target is in use, the system's own, too small, read-only, or nothing to write an image to.
    """
    real = Path(os.path.realpath(path))
    try:
        status = real.stat()
    except FileNotFoundError:
        return _new_file(path, real)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    if stat.S_ISBLK(status.st_mode):
        return _disk(path, real, status.st_rdev, needed)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "neither a disk nor a file"
        raise ImageError(f"{path} is {kind}")
    if os.path.samestat(status, image.stat()):
        raise ImageError(f"{path} is the image itself: give another --to")
    if loops := block_devices.loops_over(real):
        raise ImageError(f"{path} is in use as {', '.join(loops)}: unmount it and run `losetup --detach {loops[0]}`")
    if not os.access(real, os.W_OK):
        raise ImageError(f"{path} is read-only")
    return Target(real, False, True, None, "", 0)


@contextlib.contextmanager
def opened(target: Target) -> Iterator[int]:
    """Opens the target for reading and writing; a disk exclusively, so that nobody mounts it meanwhile.

    Raises:
        ImageError: it cannot be opened, or is not what was checked any more.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    flags |= os.O_EXCL if target.is_disk else (0 if target.exists else os.O_CREAT | os.O_EXCL)
    try:
        descriptor = os.open(target.path, flags, 0o600)
    except OSError as error:
        raise ImageError(_why_not_opened(target.path, error)) from None
    try:
        if target.is_disk:
            _check_same(descriptor, target)
        yield descriptor
    finally:
        os.close(descriptor)


def _check_same(descriptor: int, target: Target) -> None:
    """Whoever said yes meant the card that was looked at, not the one that is in the slot now: number, size and serial
    of what is open are compared."""
    status = os.fstat(descriptor)
    same = stat.S_ISBLK(status.st_mode) and status.st_rdev == target.device
    same = same and block_devices.medium_of(target.device) == target.medium
    if not same or block_devices.device_size(descriptor) != target.capacity:
        raise ImageError(f"{target.path} is a different device or card now; nothing was written")


def _new_file(path: Path, real: Path) -> Target:
    if real.is_relative_to("/dev") and not real.is_relative_to("/dev/shm"):  # noqa: S108  # a memory disk, as named
        raise ImageError(f"{path}: there is no such device; `lsblk` lists those there are")
    if not real.parent.is_dir():
        raise ImageError(f"{path}: there is no folder {real.parent}")
    if not os.access(real.parent, os.W_OK):
        raise ImageError(f"{path}: the folder {real.parent} is read-only")
    return Target(real, False, False, None, "", 0)


def _disk(path: Path, real: Path, device: int, needed: int | None) -> Target:
    if block_devices.is_partition(device):
        raise ImageError(f"{path} is a partition: give the whole disk, {block_devices.disk_of(device)}")
    if block_devices.is_system_disk(device):
        raise ImageError(f"{path} is the disk this system runs from: nothing was written")
    if uses := block_devices.uses_of(device):
        raise ImageError(f"{path} is {uses[0]}: unmount it first (`umount {real}?*`)")
    if block_devices.is_read_only(device):
        raise ImageError(f"{path} is read-only: look at the card's lock switch")
    medium = block_devices.medium_of(device)
    try:
        descriptor = os.open(real, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(_why_not_opened(path, error)) from None
    try:
        capacity = block_devices.device_size(descriptor)
    finally:
        os.close(descriptor)
    if needed is not None and capacity < needed:
        raise ImageError(f"{path} is too small: {capacity:,} bytes, and the image needs {needed:,}")
    return Target(real, True, True, capacity, block_devices.describe(device), device, medium)


def _why_not_opened(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.EBUSY:
            return f"{path} is in use: unmount it first"
        case errno.EROFS:
            return f"{path} is read-only: look at the card's lock switch"
        case errno.EACCES | errno.EPERM:
            return f"{path}: not permitted; run the command with sudo"
        case errno.ENXIO | errno.ENOMEDIUM:
            return f"{path}: there is no card in it"
        case errno.EEXIST | errno.ELOOP:
            return f"{path} was changed by another program just now; nothing was written"
    return f"{path}: {error.strerror}"
