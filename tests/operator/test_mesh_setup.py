"""Meshes are made, told of and given new authorities."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.operator.mesh_setup import all_certificates, all_meshes, create_mesh, overview, rotate_mesh
from provisioning.errors import ProvisioningError
from provisioning.mesh import DEFAULT_BROKER
from provisioning.records import CertificateKind


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))


def test_a_mesh_is_made_with_what_was_not_said_made_up_and_is_listed() -> None:
    assert all_meshes() == []
    assert create_mesh("shed").settings.brokers == (DEFAULT_BROKER,)
    mesh = create_mesh("home", ["mqtts://hub.lan:8883", "mqtts://attic.lan:8883"])
    assert mesh.settings.claim_broker == "mqtts://hub.lan:8884"
    mesh.enrol("kitchen", mesh.authority())
    with mesh.inventory() as inventory:
        inventory.add_user("alice", "hash", None)
    found = {one.mesh.name: ([row.device_id for row in one.devices], one.users) for one in all_meshes()}
    assert found == {"home": (["kitchen"], 1), "shed": ([], 0)}
    with pytest.raises(ProvisioningError, match="exists already"):
        create_mesh("home")


@pytest.mark.parametrize(
    ("brokers", "claims", "said"),
    [
        (["mqtt://hub.lan:1883"], None, "must use TLS"),
        ([], "mqtt://hub.lan:1884", "must use TLS"),
        (["https://hub.lan"], None, "must be mqtts://host:port"),
    ],
)
def test_a_mesh_without_tls_is_not_made(brokers: list[str], claims: str | None, said: str) -> None:
    with pytest.raises(ProvisioningError, match=said):
        create_mesh("home", brokers, claims)
    assert all_meshes() == []


def test_a_rotation_is_finished_when_every_device_has_renewed_or_by_force() -> None:
    mesh = create_mesh("home")
    authority = mesh.authority()
    devices = [f"device-{number:02}" for number in range(10)]
    for device in devices:
        mesh.enrol(device, authority)
    assert sorted(rotate_mesh(mesh, authority)) == devices
    with pytest.raises(ProvisioningError, match=r"10 devices have not renewed yet \(device-.*, \.\.\.\)"):
        rotate_mesh(mesh, authority, finish=True)
    assert len(overview(mesh).mesh.bundle().authorities) == 2
    rotate_mesh(mesh, authority, finish=True, force=True)
    assert len(mesh.bundle().authorities) == 1


def test_every_certificate_that_was_given_is_told() -> None:
    mesh = create_mesh("home")
    mesh.enrol("kitchen", mesh.authority())
    assert {row.kind for row in all_certificates(mesh)} == {CertificateKind.OPERATOR, CertificateKind.DEVICE}
    assert [row.name for row in all_certificates(mesh, CertificateKind.DEVICE)] == ["kitchen"]
