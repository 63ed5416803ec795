"""Images of every packing are written whole; whatever goes wrong leaves nothing that looks so."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from provisioning.image import ImageError, flash, plan_flash
from tests.conftest import missing
from tests.provisioning.disks import (
    IMAGE_BYTES,
    MIB,
    ROOT_BYTES,
    ROOT_START,
    check_clean,
    looks_whole,
    loop_device,
    make_disk,
    mounted,
    run_program,
    sha256,
)
from tests.provisioning.test_image_seeding import seed_files
from tests.support.commands import moamesh

MOAMESH = [sys.executable, "-m", "edge_agent.cli.main", "provision"]


def quiet(_step: str, _done: int, _total: int) -> None:
    """Shows no progress."""


def zipped(data: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pi.img", data)


def two_streams(data: bytes, path: Path) -> None:
    half = len(data) // 2
    path.write_bytes(lzma.compress(data[:half], preset=0) + bytes(4) + lzma.compress(data[half:], preset=0))


ZSTD = zstandard.ZstdCompressor(level=1, write_checksum=True)  # as the zstd program does
PACKERS: dict[str, Callable[[bytes, Path], object]] = {
    "pi.img": lambda data, path: path.write_bytes(data),
    "pi.img.xz": lambda data, path: path.write_bytes(lzma.compress(data, preset=0)),
    "two.img.xz": two_streams,
    "pi.img.gz": lambda data, path: path.write_bytes(gzip.compress(data, 1)),
    "pi.img.bz2": lambda data, path: path.write_bytes(bz2.compress(data, 1)),
    "pi.img.zst": lambda data, path: path.write_bytes(ZSTD.compress(data)),
    "pi.zip": zipped,
}
TELLS_ITS_SIZE = set(PACKERS) - {"pi.img.gz", "pi.img.bz2"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_disk(tmp_path_factory.mktemp("disk") / "pi.img", cloud_init=True).path


@pytest.fixture(scope="module")
def pack(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """What the image is under a name, packed once for all tests: to pack takes longer than to write it."""
    folder = tmp_path_factory.mktemp("packed")

    def packed_as(name: str) -> bytes:
        path = folder / name
        if not path.exists():
            PACKERS[name](image.read_bytes(), path)
        return path.read_bytes()

    return packed_as


@pytest.fixture
def packed(request: pytest.FixtureRequest, pack: Callable[[str], bytes], tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    path.write_bytes(pack(path.name))
    return path


@pytest.mark.parametrize("packed", PACKERS, indirect=True)
def test_what_is_written_is_what_was_packed(packed: Path, image: Path, tmp_path: Path) -> None:
    plan = plan_flash(packed, tmp_path / "card")
    assert (plan.unpacked_bytes == IMAGE_BYTES) == (packed.name in TELLS_ITS_SIZE)
    done = flash(plan, quiet)
    assert done.size == IMAGE_BYTES
    assert sha256(tmp_path / "card") == sha256(image)


@pytest.mark.parametrize("packed", PACKERS, indirect=True)
def test_an_image_cut_in_the_middle_leaves_no_card(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    old = tmp_path / "old-card"
    old.write_bytes(b"\x55\xaa" * MIB)
    for target in (tmp_path / "new-card", old):
        with pytest.raises(ImageError, match=r"truncated|corrupt"):
            flash(plan_flash(packed, target), quiet)
    assert not (tmp_path / "new-card").exists()
    assert not old.exists() or not looks_whole(old) or old.stat().st_size == 2 * MIB


def test_a_failure_says_what_is_left_and_what_to_do_only_if_something_was_written(image: Path, tmp_path: Path) -> None:
    cut, old = tmp_path / "cut.img", tmp_path / "old-card"
    cut.write_bytes(image.read_bytes()[: IMAGE_BYTES // 2])
    old.write_bytes(b"old")
    for target, left in ((tmp_path / "new-card", "was removed; run"), (old, "has no partition table, so nothing")):
        with pytest.raises(ImageError, match=rf"truncated.*\. {target} {left}"):
            flash(plan_flash(cut, target), quiet)
    old.write_bytes(b"old")
    plan = plan_flash(cut, old)
    cut.write_bytes(image.read_bytes())
    with pytest.raises(ImageError, match=r"wait until it is complete$"):
        flash(plan, quiet)
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("packed", sorted(PACKERS.keys() - {"pi.img"}), indirect=True)
def test_a_corrupt_archive_leaves_no_card(packed: Path, tmp_path: Path) -> None:
    data = bytearray(packed.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    packed.write_bytes(data)
    with pytest.raises(ImageError, match=r"corrupt|truncated"):
        flash(plan_flash(packed, tmp_path / "card"), quiet)
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("pi.img.xz", gzip.compress(b"x" * 9999), "is compressed with gzip, though its name ends in .xz"),
        ("pi.img", lzma.compress(b"x" * 9999), "is compressed with xz, though its name ends in .img"),
        ("pi.img.gz", b"x" * 9999, "is not packed, though its name ends in .gz"),
        ("pi.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "is 7z: convert it"),
        ("pi.img", b"", "is empty"),
        ("pi.img", b"x" * 9999, "contains no partition table"),
        ("pi.img", bytes(510) + b"\x55\xaa" + bytes(9999), "contains an empty partition table"),
        ("pi.img.zst", zstandard.compress(b""), "is empty when unpacked"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(said)):
        flash(plan_flash(tmp_path / name, tmp_path / "card"), quiet)
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize("packed", ["pi.img.xz"], indirect=True)
def test_a_card_is_seeded_before_it_looks_whole(packed: Path, tmp_path: Path) -> None:
    whole_when: dict[str, bool] = {}

    def look(step: str, _done: int, _total: int) -> None:
        whole_when[step] = looks_whole(tmp_path / "card")

    done = flash(plan_flash(packed, tmp_path / "card"), look, seed_files())
    assert whole_when == {"writing": False, "verifying": False, "seed": False}
    assert done.seed is not None
    assert "user-data" in done.seed.files
    assert looks_whole(tmp_path / "card")
    check_clean(tmp_path / "card", tmp_path)


@pytest.mark.parametrize("step", ["writing", "verifying", "seed"])
def test_stopping_at_any_step_leaves_nothing_that_looks_whole(image: Path, tmp_path: Path, step: str) -> None:
    def stop(now: str, _done: int, _total: int) -> None:
        if now == step:
            raise KeyboardInterrupt

    old = tmp_path / "old"
    old.write_bytes(image.read_bytes())  # a card that was whole before
    for target in (tmp_path / "new", old):
        with pytest.raises(KeyboardInterrupt):
            flash(plan_flash(image, target), stop, seed_files())
    assert not (tmp_path / "new").exists()
    assert not looks_whole(old)


def test_a_killed_writer_leaves_a_card_without_partitions(pack: Callable[[str], bytes], tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"old" * 1000)
    slow = tmp_path / "slow.img.xz"
    slow.write_bytes(4 * pack("pi.img.xz"))  # streams one after the other: far more than is written before the kill
    writer = subprocess.Popen([*MOAMESH, "flash", str(slow), "--to", str(card), "--yes"], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60.0
    while card.stat().st_size < 2 * MIB:
        assert time.monotonic() < end
        assert writer.poll() is None
        time.sleep(0.001)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    assert not looks_whole(card)


def test_a_card_that_forgets_is_found_out(image: Path, tmp_path: Path) -> None:
    card = tmp_path / "card"

    def forget(step: str, done: int, total: int) -> None:
        if step == "writing" and done == total:
            with card.open("r+b") as file:
                file.seek(20 * MIB + 5)
                file.write(b"rotten")

    with pytest.raises(ImageError, match="read back is not what was written"):
        flash(plan_flash(image, card), forget)
    assert not card.exists()


def test_targets_that_are_none_are_refused(image: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias.img"
    alias.symlink_to(image)
    for target, said in (
        (image, "is the image itself"),
        (alias, "is the image itself"),
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "neither a disk nor a file"),
        (Path("/dev/no-such-card"), "no such device"),
        (tmp_path / "no" / "folder" / "card", "there is no folder"),
    ):
        with pytest.raises(ImageError, match=said):
            plan_flash(image, target)


def test_the_disk_this_system_runs_from_is_refused(image: Path) -> None:
    found = re.search(r"(?m)^\S+ \S+ \S+ / / .* - \S+ (/dev/\S+)", Path("/proc/self/mountinfo").read_text())
    if found is None:
        missing("the root file system is on no device here")
        raise AssertionError
    device = Path(found[1])
    with pytest.raises(ImageError, match=r"runs from|give the whole disk"):
        plan_flash(image, device)


@pytest.mark.parametrize("size", [64 * MIB, 65 * MIB])
def test_another_card_in_the_same_slot_is_not_written(image: Path, tmp_path: Path, size: int) -> None:
    asked, other = tmp_path / "asked", tmp_path / "other"
    for path, length in ((asked, 64 * MIB), (other, size)):
        with path.open("wb") as file:
            file.truncate(length)
    with loop_device(asked) as device:
        plan = plan_flash(image, device)
        number = device.stat().st_rdev
        run_program(["losetup", "--detach", str(device)])
        run_program(["losetup", str(device), str(other)])  # the device keeps its name and number
        assert device.stat().st_rdev == number
        with pytest.raises(ImageError, match="is a different device or card now; nothing was written"):
            flash(plan, quiet)
    assert not any(other.read_bytes())


def test_a_disk_that_is_too_small_read_only_or_mounted_is_refused(image: Path, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(bytes(8 * MIB))
    with loop_device(backing) as device, pytest.raises(ImageError, match=r"too small: 8,388,608 bytes"):
        plan_flash(image, device)
    with loop_device(backing, "--read-only") as device, pytest.raises(ImageError, match="read-only"):
        plan_flash(image, device)
    with loop_device(backing) as device:
        with pytest.raises(ImageError, match=r"in use as /dev/loop\d+"):
            plan_flash(image, backing)
        run_program(["mke2fs", "-q", str(device)])
        with mounted(str(device), tmp_path / "there"), pytest.raises(ImageError, match=r"is mounted at .*there"):
            plan_flash(image, device)
    assert backing.stat().st_size == 8 * MIB


def test_a_partition_of_a_disk_is_refused_and_the_disk_is_while_it_is_in_use(image: Path, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(image.read_bytes())
    with loop_device(card, "--partscan") as device:
        part = Path(f"{device}p2")
        if not part.exists():  # a kernel that reads no tables is told
            place = [str(number // 512) for number in (ROOT_START, ROOT_BYTES)]
            run_program(["addpart", str(device), "2", *place])
        with pytest.raises(ImageError, match=f"is a partition: give the whole disk, {device}"):
            plan_flash(image, part)
        with mounted(str(part), tmp_path / "root"), pytest.raises(ImageError, match="is mounted at"):
            plan_flash(image, device)


def test_a_disk_of_unknown_need_that_turns_out_too_small_is_left_without_partitions(
    image: Path, pack: Callable[[str], bytes], tmp_path: Path
) -> None:
    packed = tmp_path / "pi.img.gz"
    packed.write_bytes(pack(packed.name))
    backing = tmp_path / "backing"
    backing.write_bytes(image.read_bytes()[: 32 * MIB])
    with loop_device(backing) as device:
        assert looks_whole(device)
        with pytest.raises(ImageError, match="the target is too small"):
            flash(plan_flash(packed, device), quiet)
        assert not looks_whole(device)


def test_a_disk_is_written_seeded_and_clean(image: Path, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(os.urandom(IMAGE_BYTES + 5 * MIB))
    with loop_device(backing) as device:
        done = flash(plan_flash(image, device), quiet, seed_files())
    assert done.seed is not None
    check_clean(backing, tmp_path)


def test_a_full_disk_is_one_line_and_leaves_nothing(image: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.img"
    with big.open("wb") as file:
        file.write(image.read_bytes())
        file.write(os.urandom(8 * MIB))
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=8m"):
        with pytest.raises(ImageError, match=r"no space left after [\d,]+ bytes"):
            flash(plan_flash(big, tmp_path / "small" / "card"), quiet)
        assert not os.listdir(tmp_path / "small")


def test_a_read_only_place_is_one_line(image: Path, tmp_path: Path) -> None:
    with (
        mounted("tmpfs", tmp_path / "fixed", "-t", "tmpfs", "-o", "ro"),
        pytest.raises(ImageError, match="is read-only"),
    ):
        plan_flash(image, tmp_path / "fixed" / "card")


def test_the_command_dry_runs_asks_and_reports(image: Path, tmp_path: Path) -> None:
    command = ["provision", "flash", str(image), "--to", str(tmp_path / "card")]
    dry = moamesh(None, *command, "--dry-run", "--json")
    assert '"dry_run": true' in dry.stdout
    assert not (tmp_path / "card").exists()
    written = subprocess.run(
        [*MOAMESH, *command[1:], "--json"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert written.returncode == 0, written.stderr
    assert f'"written_bytes": {IMAGE_BYTES}' in written.stdout
    again = moamesh(None, *command)
    assert again.returncode == 2
    assert "say --yes" in again.stderr
    assert moamesh(None, *command, "--yes").returncode == 0
    assert sha256(tmp_path / "card") == sha256(image)
