"""A full disk and kill -9: what was there before stays whole."""

from __future__ import annotations

import contextlib
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.wire.topics import Channel
from provisioning import revocation
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, read_file, write_atomically
from provisioning.mesh import MeshFolder, MeshSettings
from provisioning.messages import CertificateIssued, CertificateRefused, RefusalReason
from tests.provisioning.home import Home
from tests.support.small_disk import small_disk

KILLS = 8
SEED = 20261124


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a few bytes: writes begin and break off, as on a full disk. Needs no rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.tmp")]


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", PRIVATE)
    with full_disk(), pytest.raises(ProvisioningError, match="can't be written: File too large; nothing was changed"):
        write_atomically(path, b"new" * 1000, PRIVATE)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_full_file_system_is_said_in_one_line_and_room_again_is_enough(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=128) as disk:
        mesh = MeshFolder.create(disk / "home", MeshSettings("home"))
        authority = mesh.authority()
        mesh.enrol("kitchen", authority)
        before = read_file(mesh.crl_file)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        with pytest.raises(ProvisioningError, match=r"No space left on device|database or disk is full"):
            mesh.revoke("kitchen", authority)
        assert read_file(mesh.crl_file) == before
        filler.unlink()
        serials = mesh.revoke("kitchen", authority)
        assert revocation.serials_in(read_file(mesh.crl_file)) == set(serials)


def test_a_device_with_a_full_disk_keeps_what_it_has_and_gets_the_same_certificate_later(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    issued = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret))
    assert isinstance(issued, CertificateIssued)
    with full_disk(), pytest.raises(ProvisioningError, match="can't be written"):
        store.accept(issued)
    assert store.certificate() is None
    again = home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret))
    assert isinstance(again, CertificateIssued)
    assert again.certificate == issued.certificate
    first = store.accept(again)
    renewed = home.answer("kitchen", Channel.RENEWALS, store.renewal_request())
    assert isinstance(renewed, CertificateIssued)
    with full_disk(), pytest.raises(ProvisioningError, match="can't be written"):
        store.accept(renewed)
    assert store.certificate() == first
    assert store.accept(renewed) != first
    assert store.roll_back()
    assert store.certificate() == first


def test_an_operator_with_a_full_disk_grants_nothing_and_the_device_asks_again(home: Home) -> None:
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    request = store.claim_request(invitation.secret)
    with full_disk():
        answer = home.answer("kitchen", Channel.CLAIMS, request)
    assert isinstance(answer, CertificateRefused)
    assert answer.reason is RefusalReason.TROUBLE
    assert not answer.reason.final
    with home.mesh.inventory() as inventory:
        assert inventory.certificates("kitchen") == []
    assert isinstance(home.answer("kitchen", Channel.CLAIMS, request), CertificateIssued)


def test_a_mesh_whose_creation_was_cut_off_is_made_by_the_same_command(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with full_disk(), pytest.raises(ProvisioningError):
        MeshFolder.create(folder, MeshSettings("home"))
    with pytest.raises(ProvisioningError, match="there is no mesh 'home'"):
        MeshFolder.open(folder)
    MeshFolder.create(folder, MeshSettings("home"))
    assert MeshFolder.open(folder).authority().mesh == "home"


def test_an_operator_killed_at_any_moment_leaves_a_mesh_that_goes_on(tmp_path: Path) -> None:
    mesh = MeshFolder.create(tmp_path / "home", MeshSettings("home"))
    moments = random.Random(SEED)
    for _ in range(KILLS):
        command = [sys.executable, "-m", "tests.provisioning.operator_process", str(mesh.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as operator:
            assert operator.stdout is not None
            assert operator.stdout.readline() == b"begun\n"
            time.sleep(moments.uniform(0.0, 0.15))  # not a wait for something: the moment of the kill
            assert operator.poll() is None
            operator.kill()
        opened = MeshFolder.open(mesh.folder)
        authority = opened.authority()
        bundle = opened.bundle()
        with opened.inventory() as inventory:
            devices = inventory.devices()
            opened.list_revoked(inventory, authority)  # what `moamesh mesh serve` and the next revocation do
            assert not opened.unlisted(inventory)
        if revocation.number_in(read_file(opened.crl_file), bundle) == 0:
            pytest.fail("a trusted CA has no revocation list")
    assert devices  # each time it had begun
    authority.revoke([])  # whoever writes next
    assert leftovers(mesh.folder) == []
