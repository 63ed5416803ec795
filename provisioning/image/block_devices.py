"""What Linux says of block devices: sizes, what uses them, what they are. Reads /sys and /proc, changes nothing."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

_BLKGETSIZE64 = 0x80081272  # linux/fs.h; the same on every architecture with 8-byte size_t
_SYS = Path("/sys/dev/block")
SYSTEM_MOUNTS = ("/", "/boot", "/boot/firmware", "/boot/efi", "/usr", "/var", "/home")


@final
@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    source: str
    point: str
    device: int


def device_size(descriptor: int) -> int:
    """Returns the size in bytes of an opened block device."""
    (size,) = struct.unpack("<Q", fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)))
    return int(size)


def is_partition(device: int) -> bool:
    """Whether this is a part of a disk, not a disk."""
    return (_sys(device) / "partition").exists()


def disk_of(device: int) -> str:
    """Returns the path of the disk that a partition belongs to, such as /dev/sdb."""
    return f"/dev/{_sys(device).resolve().parent.name}"


def is_read_only(device: int) -> bool:
    """Whether the kernel refuses to write, as with a card whose switch is set to lock."""
    return _read(_sys(device) / "ro") == "1"


def describe(device: int) -> str:
    """Returns what a person knows the disk by: maker and model, how it is attached; "" if it has no name."""
    folder = _sys(device)
    words = [_read(folder / "device" / name) for name in ("vendor", "model", "name")]
    if backing := _read(folder / "loop" / "backing_file"):
        words.append(f"loop over {backing}")
    if _read(folder / "removable") == "1":
        words.append("removable")
    return " ".join(word for word in words if word)


def medium_of(device: int) -> tuple[str, ...]:
    """Returns what tells this medium from another in the same slot: the kernel's count of insertions (Linux 5.15), the
    card's or disk's own numbers. What the kernel does not know is ""."""
    folder = _sys(device)
    return tuple(_read(folder / name) for name in ("diskseq", "device/serial", "device/cid", "device/wwid", "wwid"))


def uses_of(device: int) -> list[str]:
    """Returns what uses the disk, any of its partitions, or what is built on them: one phrase each."""
    family = set(_family(device))
    uses = [f"mounted at {mount.point}" for mount in mounts() if mount.device in family]
    uses += [f"used as swap ({path})" for path in _swaps() if _device_number(path) in family]
    own = {device, *_partitions(device)}
    uses += [f"part of /dev/{name}" for number in own for name in _names(_sys(number) / "holders")]
    return uses


def is_system_disk(device: int) -> bool:
    """Whether the running system lives on it."""
    family = set(_family(device))
    return any(mount.device in family and mount.point in SYSTEM_MOUNTS for mount in mounts())


def loops_over(file: Path) -> list[str]:
    """Returns the loop devices that are attached to a file."""
    backings = Path("/sys/block").glob("loop*/loop/backing_file")
    return sorted(f"/dev/{backing.parent.parent.name}" for backing in backings if _read(backing) == str(file))


def mounts() -> Iterator[Mount]:
    """Yields what is mounted. A file system that spans devices (btrfs) is known by its source's device."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split(" ")
        major, minor = words[2].split(":")
        source = words[words.index("-") + 2]
        number = _device_number(source) if int(major) == 0 else os.makedev(int(major), int(minor))
        yield Mount(source, words[4].encode().decode("unicode_escape"), number)


def _family(device: int) -> Iterator[int]:
    """The disk, its partitions, and whatever is built on them (LVM, RAID, encryption)."""
    for number in (device, *_partitions(device)):
        yield number
        for name in _names(_sys(number) / "holders"):
            holder = _device_number(f"/dev/{name}")
            if holder:
                yield from _family(holder)


def _partitions(device: int) -> list[int]:
    folder = _sys(device).resolve()
    return [_parse_number(_read(child / "dev")) for child in folder.glob("*") if (child / "partition").exists()]


def _sys(device: int) -> Path:
    return _SYS / f"{os.major(device)}:{os.minor(device)}"


def _swaps() -> list[str]:
    try:
        lines = Path("/proc/swaps").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.startswith("/dev/")]


def _device_number(path: str) -> int:
    """The device's number; 0, which no device has, if it is none."""
    if not path.startswith("/dev/"):
        return 0
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return status.st_rdev if stat.S_ISBLK(status.st_mode) else 0


def _parse_number(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major), int(minor)) if minor else 0


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
