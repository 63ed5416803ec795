"""Puts a seed into the boot partition of an image or card, and makes the system there read it at its next boot.

The order makes a half-put seed harmless: what is only read by others comes first, the kernel's command line, which
turns it on, comes last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from provisioning.image.boot_partition import BootPartition
from provisioning.image.cmdline import FirstBoot, edit_cmdline
from provisioning.image.errors import ImageError
from provisioning.image.partitions import TABLE_BYTES_MAX, Partition, disk_end, read_partitions
from provisioning.seed.files import FIRSTRUN, META_DATA, NETWORK_CONFIG, PAYLOAD, USER_DATA, SeedFiles

_CMDLINE = "cmdline.txt"
_SPARE_BYTES = 1024 * 1024  # for folders, and the last, half-filled cluster of each file
_FILES_MAX = 2000  # a wheelhouse has some dozens
_LAST = (NETWORK_CONFIG, META_DATA, FIRSTRUN, USER_DATA)
_INSTANCE_ID = re.compile(r"^instance-id:\s*[\"']?([A-Za-z0-9._-]+)", re.MULTILINE)


@final
@dataclass(frozen=True, slots=True)
class SeedPut:
    """What was done to the boot partition."""

    partition: int
    first_boot: FirstBoot
    files: tuple[str, ...]
    cmdline: str


def find_boot_partition(path: Path, partitions: Sequence[Partition]) -> BootPartition:
    """Returns the FAT partition that holds `cmdline.txt`.

    Raises:
        ImageError: there is none.
    """
    for partition in partitions:
        boot = BootPartition(path, partition)
        if partition.may_be_fat and _is_fat(path, partition.offset) and _CMDLINE in boot.names():
            return boot
    raise ImageError(
        f"{path} has no boot partition with a cmdline.txt, as images for a Raspberry Pi have: "
        "give this system its seed as an ISO (`moamesh provision device --iso`)"
    )


def put_seed(
    path: Path, seed: SeedFiles, *, first_boot: FirstBoot | None = None, partitions: Sequence[Partition] | None = None
) -> SeedPut:
    """Writes a seed into the boot partition of an image or disk and edits `cmdline.txt`; the rest stays untouched.

    Args:
        path: an unpacked image or a disk.
        seed: what to put there; a folder `moamesh` from an earlier seed is replaced.
        first_boot: who shall read it; by default what the image has: cloud-init where there is a `user-data` already
            (Raspberry Pi OS since Trixie, Ubuntu), else `firstrun.sh` (Raspberry Pi OS Bookworm).
        partitions: for a disk whose table is not written yet.

    Raises:
        ImageError: there is no boot partition, no room in it, or it cannot be written.
    """
    boot = find_boot_partition(path, partitions if partitions is not None else _read_table(path))
    names = boot.names()
    chosen = first_boot or (FirstBoot.CLOUD_INIT if USER_DATA in names else FirstBoot.FIRSTRUN)
    files = {name: content for name, content in seed.files.items() if _belongs(name, chosen)}
    if PAYLOAD in names:
        boot.remove_folder(PAYLOAD)
    needed = SeedFiles(files, seed.instance_id).size() + _SPARE_BYTES
    if needed > (free := boot.free_bytes()):
        raise ImageError(f"{path}: the seed needs {needed:,} bytes in the boot partition, which has {free:,} left")
    cmdline = edit_cmdline(boot.read(_CMDLINE).decode("utf-8", "surrogateescape"), chosen, seed.instance_id)
    for folder in sorted({parent for name in files for parent in _parents(name)}):
        boot.make_folder(folder)
    for name in sorted(files, key=_order):
        boot.write(name, files[name])
    boot.write(_CMDLINE, cmdline.encode("utf-8", "surrogateescape"))
    return SeedPut(boot.partition.number, chosen, tuple(sorted(files)), cmdline.strip())


def read_seed_folder(folder: Path) -> SeedFiles:
    """Reads a seed that `moamesh provision device --seed-dir` has written.

    Raises:
        ImageError: the folder holds no seed.
    """
    try:
        meta = (folder / META_DATA).read_text(encoding="utf-8")
        names = sorted(path for path in folder.rglob("*") if path.is_file())
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{folder} contains no seed: {getattr(error, 'strerror', 'not text')} ({META_DATA})") from None
    found = _INSTANCE_ID.search(meta)
    if found is None or not (folder / USER_DATA).is_file():
        raise ImageError(f"{folder} contains no seed: it needs {USER_DATA} and an instance-id in {META_DATA}")
    if len(names) > _FILES_MAX:
        raise ImageError(f"{folder} holds {len(names)} files, more than a seed has")
    return SeedFiles({path.relative_to(folder).as_posix(): path for path in names}, found[1])


def _belongs(name: str, first_boot: FirstBoot) -> bool:
    """cloud-init would read a stale firstrun.sh never, but firstrun's system has no use for cloud-init's secrets."""
    if first_boot is FirstBoot.FIRSTRUN:
        return name not in (USER_DATA, META_DATA, NETWORK_CONFIG)
    return name != FIRSTRUN


def _order(name: str) -> tuple[int, str]:
    return (_LAST.index(name) + 1 if name in _LAST else 0, name)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _read_table(path: Path) -> tuple[Partition, ...]:
    try:
        with path.open("rb") as file:
            start = file.read(TABLE_BYTES_MAX)
            size = file.seek(0, os.SEEK_END)
        partitions = read_partitions(start)
    except OSError as error:
        raise ImageError(f"{path} can't be read: {error.strerror}") from None
    except ImageError as error:
        raise ImageError(f"{path} {error}") from None
    if disk_end(start, partitions) > size:
        raise ImageError(f"{path} is truncated: the disk in it ends after the file; download it again")
    return partitions


def _is_fat(path: Path, offset: int) -> bool:
    with path.open("rb") as file:
        file.seek(offset)
        sector = file.read(512)
    return sector[510:] == b"\x55\xaa" and (sector[54:57] == b"FAT" or sector[82:85] == b"FAT")
