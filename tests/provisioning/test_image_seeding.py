"""A seed goes into a real FAT boot partition, and nothing else on the disk changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioning.image import FirstBoot, ImageError, put_seed, read_seed_folder
from provisioning.image.cmdline import edit_cmdline
from provisioning.seed import SeedFiles, write_folder
from tests.provisioning.disks import (
    BOOT_START,
    CMDLINE,
    ROOT_BYTES,
    ROOT_START,
    Disk,
    check_clean,
    make_disk,
    sha256,
)

WHEEL = "moamesh/wheelhouse/pydantic_core-2.50.4-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"


def seed_files(instance: str = "moamesh-1") -> SeedFiles:
    return SeedFiles(
        {
            "user-data": b"#cloud-config\nhostname: kitchen\n",
            "meta-data": f"instance-id: {instance}\n".encode(),
            "network-config": b"version: 2\n",
            "firstrun.sh": b"#!/bin/bash\nexit 0\n",
            "moamesh/README.txt": b"",
            WHEEL: bytes(range(256)) * 9000,
        },
        instance,
    )


def others_unchanged(disk: Disk, *, but: set[str]) -> None:
    for name, content in disk.others.items():
        if name not in but:
            assert disk.boot.read(name) == content, name


@pytest.mark.parametrize("first_boot", FirstBoot)
def test_a_seed_is_read_back_byte_for_byte_and_the_rest_is_untouched(tmp_path: Path, first_boot: FirstBoot) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=first_boot is FirstBoot.CLOUD_INIT)
    table, root = sha256(disk.path, 0, BOOT_START), sha256(disk.path, ROOT_START, ROOT_BYTES)
    put = put_seed(disk.path, seed_files())
    assert put.first_boot is first_boot
    unused = {"user-data", "meta-data", "network-config"} if first_boot is FirstBoot.FIRSTRUN else {"firstrun.sh"}
    expected = {name: content for name, content in seed_files().files.items() if name not in unused}
    assert {name: disk.boot.read(name) for name in expected} == expected
    assert not unused & disk.boot.names() - disk.others.keys()
    others_unchanged(disk, but={"cmdline.txt", *expected})
    assert sha256(disk.path, 0, BOOT_START) == table
    assert sha256(disk.path, ROOT_START, ROOT_BYTES) == root
    assert disk.boot.read("cmdline.txt").decode().startswith(CMDLINE.strip())
    check_clean(disk.path, tmp_path)


def test_a_second_seed_replaces_the_first(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=True)
    put_seed(disk.path, seed_files("moamesh-1"))
    second = SeedFiles({"user-data": b"#cloud-config\n# 2\n", "meta-data": b"instance-id: moamesh-2\n"}, "moamesh-2")
    put_seed(disk.path, second)
    assert disk.boot.read("cmdline.txt").decode() == f"{CMDLINE.strip()} cgroup_enable=memory ds=nocloud;i=moamesh-2\n"
    assert "moamesh" not in disk.boot.names()
    assert disk.boot.read("user-data") == b"#cloud-config\n# 2\n"
    check_clean(disk.path, tmp_path)


def test_a_seed_without_room_changes_nothing(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=True)
    before = sha256(disk.path)
    big = SeedFiles({**seed_files().files, "moamesh/model/large.gguf": bytes(disk.boot.free_bytes())}, "moamesh-1")
    with pytest.raises(ImageError, match=r"the seed needs [\d,]+ bytes in the boot partition, which has [\d,]+ left"):
        put_seed(disk.path, big)
    assert sha256(disk.path) == before


def test_a_seed_that_is_cut_off_is_not_turned_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=True)
    written: list[str] = []
    whole = type(disk.boot).write

    def cut_off(boot: object, name: str, content: bytes | Path) -> None:
        if name == "user-data":
            raise KeyboardInterrupt
        written.append(name)
        whole(boot, name, content)  # type: ignore[arg-type]  # it is one

    monkeypatch.setattr(type(disk.boot), "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        put_seed(disk.path, seed_files())
    assert WHEEL in written
    others_unchanged(disk, but={"meta-data", "network-config"})


def test_an_image_without_a_boot_partition_is_sent_to_the_iso(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=True)
    with disk.path.open("r+b") as file:
        file.seek(446 + 4)
        file.write(b"\x83")  # the boot partition calls itself Linux
    with pytest.raises(ImageError, match="--iso"):
        put_seed(disk.path, seed_files())


def test_a_truncated_image_gets_no_seed(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "pi.img", cloud_init=True)
    with disk.path.open("r+b") as file:
        file.truncate(ROOT_START + 1000)
    with pytest.raises(ImageError, match="truncated"):
        put_seed(disk.path, seed_files())


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_folder(seed_files(), tmp_path / "seed")
    read = read_seed_folder(tmp_path / "seed")
    assert read.instance_id == "moamesh-1"
    contents = {name: content.read_bytes() for name, content in read.files.items() if isinstance(content, Path)}
    assert contents == seed_files().files
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "seed").rglob("*") if path.is_file()}
    assert modes == {0o600}


@pytest.mark.parametrize("missing", ["meta-data", "user-data"])
def test_half_a_seed_folder_is_none(tmp_path: Path, missing: str) -> None:
    write_folder(seed_files(), tmp_path / "seed")
    (tmp_path / "seed" / missing).unlink()
    with pytest.raises(ImageError, match="contains no seed"):
        read_seed_folder(tmp_path / "seed")


def test_a_command_line_keeps_its_own_words() -> None:
    own = 'root=/dev/sda2  dyndbg="file x.c +p"\tquiet'
    once = edit_cmdline(f"{own}\n# second line\n", FirstBoot.FIRSTRUN, "a")
    assert once.startswith(f"{own} cgroup_enable=memory systemd.run=/boot/firmware/firstrun.sh")
    assert once.endswith("\n# second line\n")
    changed = edit_cmdline(once, FirstBoot.CLOUD_INIT, "b")
    assert changed == f"{own} cgroup_enable=memory ds=nocloud;i=b\n# second line\n"
    assert edit_cmdline(changed, FirstBoot.CLOUD_INIT, "b") == changed
