"""A blank image becomes a member: flashed, seeded, booted, claimed, asked; and asked again after a power cut.

Not collected by itself, since it takes minutes: `make test-flash`. In the environment: `MOAMESH_FLASH_ARCH`, amd64
(the default) or arm64; `MOAMESH_FLASH_WHEELS`, a folder with llama.cpp built for the device, and `MOAMESH_FLASH_MODEL`,
a GGUF file; `MOAMESH_FLASH_PAGE`, a page to write the log to.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest

from provisioning.image.boot_partition import BootPartition
from provisioning.image.partitions import Partition
from tests.flash.guest import Guest, image_partitions
from tests.flash.host_side import MESH, HostSide, until
from tests.flash.page import Diary
from tests.flash.wheels import ROOT, make_wheelhouse
from tests.provisioning.disks import run_program
from tests.support.ports import free_ports

ARCH = os.environ.get("MOAMESH_FLASH_ARCH", "amd64")
WHEELS = os.environ.get("MOAMESH_FLASH_WHEELS")
MODEL = os.environ.get("MOAMESH_FLASH_MODEL")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "moamesh" / "test-images"
# A busy machine emulating another: these only end a run that hangs.
BOOT_S, INSTALL_S, CLAIM_S, ANSWER_S, OFF_S = 600.0, 1800.0, 600.0, 900.0, 300.0
DEADLINE_S = 900.0 if WHEELS else 300.0  # an emulated processor makes about a token a second


@pytest.fixture
def base_image() -> Path:
    """Built once for each version of the script that builds it."""
    script = ROOT / "scripts" / "build_test_image.sh"
    version = hashlib.sha256(script.read_bytes()).hexdigest()[:8]
    image = CACHE / f"bookworm-{ARCH}-{version}.img.xz"
    if not image.exists():
        subprocess.run(["bash", str(script), ARCH, str(image)], check=True)
    return image


@pytest.mark.timeout(5400)
def test_a_blank_image_becomes_a_member_and_answers(tmp_path: Path, base_image: Path) -> None:
    diary = Diary(ARCH, engine="llama.cpp" if WHEELS else "synthetic")
    host = HostSide(tmp_path, *free_ports(2))
    wheels = make_wheelhouse(ARCH, tmp_path / "wheelhouse", Path(WHEELS) if WHEELS else None)
    card = tmp_path / "card.img"
    with host.mesh(), host.member("pantry"):
        diary.note("the mesh runs here: broker, service, one member (pantry)")
        if WHEELS:
            engine = ("--engine", "llama", "--model", MODEL or "", "--set", "engine.context_tokens=1024")
        else:
            engine = ("--engine", "synthetic", "--set", "engine.service=deterministic:0.2")
        host.run(
            *("provision", "device", "kitchen", "--mesh", MESH, "--image", str(base_image), "--to", str(card)),
            *("--wheelhouse", str(wheels), *engine, "--set", f'broker.aliases=["{host.broker_here}"]'),
            timeout_s=600.0,
        )
        diary.note("the image is on the card, read back, with kitchen's seed in it")
        assert host.device("kitchen")["state"] == "invited"
        secret = claim_secret(card)
        guest = Guest(ARCH, card, tmp_path)
        with guest.running():
            guest.wait_for("cloud-init has read the seed", BOOT_S)
            diary.note("cloud-init has read the seed")
            guest.wait_for("moamesh-setup: done", INSTALL_S)
            diary.note("the agent is installed from the seed's wheels")
            until(lambda: host.device("kitchen")["state"] == "active", CLAIM_S, guest.serial)
            diary.note("kitchen has made its key and claimed its certificate")
            asked_and_answered(host, diary)
            first_boot = guest.serial()
            guest.pull_the_plug()
            diary.note("the plug is pulled")
        with guest.running():
            before = time.monotonic()
            asked_and_answered(host, diary)
            assert "moamesh-setup: begins" not in guest.serial()
            diary.note(f"it came back by itself ({time.monotonic() - before:.0f} s from power to answer)")
            clean = guest.shut_down(OFF_S)
            diary.note("shut down" if clean else "the plug is pulled again")
    assert secret not in first_boot + guest.serial()
    for log in tmp_path.glob("*.log"):
        assert secret not in log.read_text(errors="replace")
    check_what_is_left(card, secret, tmp_path, clean=clean)
    state = "clean" if clean else "mended by themselves"
    diary.note(f"file systems are {state}, the claim is nowhere to be read, the key is its owner's alone")
    diary.write(os.environ.get("MOAMESH_FLASH_PAGE"), first_boot)


@pytest.mark.timeout(5400)
@pytest.mark.skipif(ARCH != "amd64", reason="shell and systemd are the same there")
def test_a_system_without_cloud_init_becomes_a_member_by_its_first_run_script(tmp_path: Path, base_image: Path) -> None:
    diary = Diary(ARCH, engine="synthetic, firstrun.sh")
    host = HostSide(tmp_path, *free_ports(2))
    wheels = make_wheelhouse(ARCH, tmp_path / "wheelhouse")
    card = tmp_path / "card.img"
    with host.mesh(), host.member("pantry"):
        host.run("provision", "flash", str(base_image), "--to", str(card), timeout_s=600.0)
        make_older(card, tmp_path)
        host.run(
            *("provision", "device", "kitchen", "--mesh", MESH, "--image", str(card), "--wheelhouse", str(wheels)),
            *("--engine", "synthetic", "--set", "engine.service=deterministic:0.2"),
            *("--set", f'broker.aliases=["{host.broker_here}"]'),
            timeout_s=600.0,
        )
        boot = BootPartition(card, image_partitions(card)[0])
        assert "systemd.run=" in boot.read("cmdline.txt").decode()
        diary.note("a card as Raspberry Pi OS Bookworm has it, with kitchen's seed")
        guest = Guest(ARCH, card, tmp_path)
        with guest.running():
            guest.wait_until_off(BOOT_S)
            diary.note("firstrun.sh has run and rebooted")
        assert "systemd.run" not in boot.read("cmdline.txt").decode()
        assert not {"firstrun.sh", "user-data"} & boot.names()
        with guest.running():
            guest.wait_for("moamesh-setup: done", BOOT_S + INSTALL_S)
            diary.note("the agent is installed from the seed's wheels")
            until(lambda: host.device("kitchen")["state"] == "active", CLAIM_S, guest.serial)
            diary.note("kitchen has made its key and claimed its certificate")
            asked_and_answered(host, diary)
            guest.shut_down(OFF_S)
            diary.note("shut down")
    diary.write(os.environ.get("MOAMESH_FLASH_PAGE"), guest.serial())


def make_older(card: Path, folder: Path) -> None:
    """Takes away what Raspberry Pi OS Bookworm does not have, and gives ethernet its usual DHCP."""
    boot, root = image_partitions(card)
    for name in ("user-data", "meta-data", "network-config"):
        run_program(["mdel", "-i", f"{card}@@{boot.offset}", f"::/{name}"])
    (folder / "dhcp").write_text("[Match]\nName=eth0\n[Network]\nDHCP=yes\n")
    (folder / "disabled").write_text("")
    commands = folder / "debugfs"
    lines = ["cd /etc/systemd/network", f"write {folder}/dhcp eth0.network"]
    lines += ["cd /etc/cloud", f"write {folder}/disabled cloud-init.disabled", ""]
    commands.write_text("\n".join(lines))
    run_program(["debugfs", "-w", "-f", str(commands), f"{card}?offset={root.offset}"])


def asked_and_answered(host: HostSide, diary: Diary) -> None:
    """Both ways: kitchen asks pantry, and pantry asks kitchen."""
    for device, peer in (("kitchen", "pantry"), ("pantry", "kitchen")):
        begun = time.monotonic()
        answer = asked_until_both(host, device)
        devices = {one["device_id"] for layer in answer["provenance"]["layers"] for one in layer}
        assert devices == {device, peer}
        assert answer["outcome"] == "answered"
        diary.note(
            f"{device} answers a user through the mesh, with a proposal of {peer} "
            f"({time.monotonic() - begun:.1f} s): {answer['text'].strip()[:100]!r}"
        )


def asked_until_both(host: HostSide, device: str) -> dict[str, object]:
    """Just after the boot a device may not know the other yet, and then answers alone."""
    end = time.monotonic() + ANSWER_S
    while True:
        try:
            answer = host.ask(device, "What is a mesh?", DEADLINE_S, layers=1, fanout=1)
        except AssertionError:
            if time.monotonic() > end:
                raise
            continue
        if len(answer["provenance"]["layers"][0]) == 2 or time.monotonic() > end:
            return answer


def claim_secret(card: Path) -> str:
    boot = BootPartition(card, image_partitions(card)[0])
    found = re.search(r'"secret": "([A-Za-z0-9_-]{32})"', boot.read("user-data").decode())
    assert found is not None
    return found[1]


def check_what_is_left(card: Path, secret: str, folder: Path, *, clean: bool) -> None:
    """After a shutdown both file systems are clean; after a power cut what a boot does by itself mends them."""
    checks = ["-n"] if clean else ["-p"]
    boot, root = (alone(card, partition, folder) for partition in image_partitions(card))
    for check in (["fsck.vfat", *checks, str(boot)], ["e2fsck", "-f", *checks, str(root)]):
        done = subprocess.run(check, capture_output=True, check=False)
        assert done.returncode == 0 or (done.returncode == 1 and not clean), done.stdout.decode()
    seed = BootPartition(boot, Partition(1, 0, boot.stat().st_size, True))
    assert seed.read("user-data").startswith(b"#cloud-config")
    assert secret.encode() not in seed.read("user-data")

    def inode(path: str) -> str:
        return run_program(["debugfs", "-R", f"stat {path}", str(root)]).decode()

    for path in ("/var/lib/moamesh/identity/identity.pem", "/etc/moamesh/agent.toml"):
        mode = re.search(r"Mode:\s+(\d+)", inode(path))
        assert mode is not None, path
        assert stat.S_IMODE(int(mode[1], 8)) == 0o600, path
    assert "Inode:" not in inode("/var/lib/moamesh/claim.json")


def alone(card: Path, partition: Partition, folder: Path) -> Path:
    """A partition in a file of its own, so that checkers can have it."""
    path = folder / f"partition-{partition.number}"
    with card.open("rb") as source, path.open("wb") as target:
        source.seek(partition.offset)
        left = partition.size
        while left and (chunk := source.read(min(left, 1 << 22))):
            target.write(chunk)
            left -= len(chunk)
    return path
