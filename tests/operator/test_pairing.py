"""Pairing as a library has it: what is found out, remembered and refused before any phone is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.operator.meshes import find_mesh
from edge_agent.operator.pairing import PairingOptions, pair_with, unpair
from edge_agent.operator.user_sync import remember_broker
from edge_agent.operator.users import find_users
from provisioning.mesh import MeshFolder, MeshSettings
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker

APP = "http://127.0.0.1:8080"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def mesh(home: Path) -> MeshFolder:
    made = MeshFolder.create(home / "meshes" / "home", MeshSettings("home"))
    for device in ("kitchen", "pantry"):
        made.enrol(device, made.authority())
    return made


def test_devices_that_are_named_are_had_others_stay_as_before() -> None:
    named, open_ones = PairingOptions("alice", ("kitchen", "pantry", "kitchen")), PairingOptions("alice")
    assert named.devices_after(("attic",)) == named.devices_after(None) == ("kitchen", "pantry")
    assert (open_ones.devices_after(("attic",)), open_ones.devices_after(None)) == (("attic",), None)


@pytest.mark.parametrize(("user", "device"), [("Ann Smith", "kitchen"), ("operator", "kitchen"), ("ann", "Kitchen")])
def test_names_that_are_nobodys_are_refused(user: str, device: str) -> None:
    with pytest.raises(SettingsError):
        PairingOptions(user, (device,))


async def test_addresses_that_are_not_known_are_asked_for_and_a_silent_broker_is_said(mesh: MeshFolder) -> None:
    with pytest.raises(SettingsError, match=r"--app-url http://HOST:8080 \(it is remembered\)"):
        await pair_with(mesh, PairingOptions("me"))
    assert find_users("home") == []
    web = f"wss://127.0.0.1:{free_ports(1)[0]}"
    paired = await pair_with(mesh, PairingOptions("me", (), APP, (web,)))
    assert "this computer could not connect" in paired.problem
    assert (paired.replaced, paired.as_before, paired.lasting) == (False, False, True)
    assert paired.link.secret not in repr(paired)
    remembered = MeshFolder.open(mesh.folder).settings
    assert (remembered.app_url, remembered.web_brokers) == (APP, (web,))
    assert [one.name for one in find_users("home")] == ["me"]
    assert await unpair(mesh, "me") == ""
    assert find_users("home") == []


async def test_one_link_leads_to_one_device_that_is_its_own_broker(mesh: MeshFolder) -> None:
    remember_broker(mesh, "kitchen", "mqtts://kitchen.local:8883")
    with pytest.raises(SettingsError, match="kitchen has a broker of its own: pair a user with that device alone"):
        await pair_with(mesh, PairingOptions("me", ("kitchen", "pantry"), APP))
    assert find_users("home") == []


async def test_a_fleet_without_a_gateway_needs_to_be_told_where_the_app_is(home: Path) -> None:
    async with LocalFleet(FleetPlan(1, EngineKind.SYNTHETIC)):
        running = find_mesh(None)
        with pytest.raises(SettingsError, match="--app-url"):
            await pair_with(running, PairingOptions("me"))
        paired = await pair_with(running, PairingOptions("me", app_url="http://localhost:5173"))
        assert paired.link.text().startswith("http://localhost:5173/#pair=")
        assert (paired.problem, paired.lasting) == ("", False)
