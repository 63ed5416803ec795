"""Disk images laid out as Raspberry Pi OS is, made without mounting anything; and loop devices, which need root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisioning.image.boot_partition import BootPartition
from provisioning.image.partitions import Partition
from tests.conftest import missing

MIB = 1024 * 1024
BOOT_START = 8192 * 512  # as on Raspberry Pi OS
BOOT_BYTES = 40 * MIB
ROOT_START = BOOT_START + BOOT_BYTES
ROOT_BYTES = 6 * MIB
IMAGE_BYTES = ROOT_START + ROOT_BYTES
CMDLINE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=4e63d2bd-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"
)
CONFIG = b"# For more options and information see\r\ndtparam=audio=on\r\n\xe4rm_64bit=1\r\n"


@dataclass(frozen=True)
class Disk:
    """An image and what was put on it."""

    path: Path
    others: dict[str, bytes]

    @property
    def boot(self) -> BootPartition:
        return BootPartition(self.path, Partition(1, BOOT_START, BOOT_BYTES, True))


def make_disk(path: Path, *, cloud_init: bool) -> Disk:
    """An MBR with a FAT32 boot partition and an ext4 root."""
    with path.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    table = (
        "label: dos\nlabel-id: 0x4e63d2bd\n"
        f"start={BOOT_START // 512}, size={BOOT_BYTES // 512}, type=c\n"
        f"start={ROOT_START // 512}, size={ROOT_BYTES // 512}, type=83\n"
    )
    run_program(["sfdisk", "--quiet", str(path)], table.encode())
    # one sector a cluster, or it would be too small for FAT32
    fat = ["-F", "32", "-s", "1", "-n", "bootfs", "--offset", str(BOOT_START // 512), str(path)]
    run_program(["mkfs.vfat", *fat, str(BOOT_BYTES // 1024)])
    run_program(
        ["mke2fs", "-q", "-t", "ext4", "-L", "rootfs", "-E", f"offset={ROOT_START}", str(path), str(ROOT_BYTES // 1024)]
    )
    noise = random.Random(7)  # a kernel: bytes that do not compress, over several clusters
    others = {"cmdline.txt": CMDLINE.encode(), "config.txt": CONFIG, "kernel8.img": noise.randbytes(3 * MIB + 17)}
    if cloud_init:
        others |= {"user-data": b"#cloud-config\n", "meta-data": b"", "network-config": b"# none\n"}
    others["overlays/vc4-kms-v3d-pi4.dtbo"] = noise.randbytes(5000)
    if shutil.which("mcopy") is None:
        missing("mtools is not installed: scripts/install_test_programs.sh")
    disk = Disk(path, others)
    disk.boot.make_folder("overlays")
    for name, content in others.items():
        disk.boot.write(name, content)
    return disk


def sha256(path: Path, start: int = 0, size: int | None = None) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(-1 if size is None else size)).hexdigest()


def check_clean(path: Path, folder: Path) -> None:
    """Both file systems pass their checkers, which change nothing."""
    parts = ((BOOT_START, BOOT_BYTES, ["fsck.vfat", "-n"]), (ROOT_START, ROOT_BYTES, ["e2fsck", "-f", "-n"]))
    for start, size, check in parts:
        alone = folder / "alone.part"
        with path.open("rb") as file:
            file.seek(start)
            alone.write_bytes(file.read(size))
        run_program([*check, str(alone)])
        alone.unlink()


def looks_whole(path: Path) -> bool:
    """Whether anything would take this for a disk with partitions."""
    with path.open("rb") as file:
        return any(file.read(1024))


@contextlib.contextmanager
def loop_device(file: Path, *options: str) -> Iterator[Path]:
    """A block device over a file."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        missing("loop devices need root")
    device = run_program(["losetup", "--find", "--show", *options, str(file)]).decode().strip()
    try:
        yield Path(device)
    finally:
        run_program(["losetup", "--detach", device])


@contextlib.contextmanager
def mounted(source: str, folder: Path, *options: str) -> Iterator[None]:
    if os.geteuid() != 0:
        missing("mounting needs root")
    folder.mkdir(exist_ok=True)
    run_program(["mount", *options, source, str(folder)])
    try:
        yield
    finally:
        run_program(["umount", str(folder)])


def run_program(command: list[str], data: bytes = b"") -> bytes:
    """Runs it to its end, and returns what it said; skips where it is not installed."""
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        missing(f"{command[0]} is not installed: scripts/install_test_programs.sh")
        raise AssertionError
    done = subprocess.run([program, *command[1:]], input=data, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout.decode()} {done.stderr.decode()}"
    return done.stdout
