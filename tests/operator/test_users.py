"""Users in the inventory, the addresses a mesh remembers, and the job that brings users to a device."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from broker.passwords import hash_password, matches
from edge_agent.core.errors import SettingsError
from edge_agent.operator.user_sync import hashes_for, remember_broker, touched
from edge_agent.operator.users import add_user, remove_user
from provisioning.errors import ProvisioningError
from provisioning.jobs import ARGUMENTS_MAX, Action, Job, JobMessageError, decode_job, encode
from provisioning.mesh import MeshFolder, MeshSettings
from provisioning.records import UserRow

HASH = hash_password("secret")


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    made = MeshFolder.create(tmp_path / "home", MeshSettings("home"))
    for device in ("attic", "kitchen", "pantry"):
        made.enrol(device, made.authority())
    return made


def test_a_user_is_replaced_in_one_step_or_stays(mesh: MeshFolder) -> None:
    with mesh.inventory() as inventory:
        assert not inventory.put_user("alice", "first", ["kitchen"])
        assert inventory.put_user("alice", "second", None)
        with pytest.raises(ProvisioningError, match="no device 'cellar'"):
            inventory.put_user("alice", "third", ["cellar"])
        (alice,) = inventory.users()
        assert (alice.password_hash, alice.devices) == ("second", None)
        with pytest.raises(ProvisioningError, match="moamesh pair alice"):
            inventory.add_user("alice", "fourth", None)


def test_a_mesh_remembers_its_addresses(mesh: MeshFolder) -> None:
    mesh.settings = replace(mesh.settings, app_url="http://pi:8080", web_brokers=("wss://pi:8885", "wss://pi2:8885"))
    mesh.save()
    remember_broker(mesh, "kitchen", "mqtts://kitchen.local:8883")
    remember_broker(mesh, "attic", "mqtts://[fd00::1]:8883")
    assert MeshFolder.open(mesh.folder).settings == mesh.settings
    assert mesh.settings.own_brokers["kitchen"] == "mqtts://kitchen.local:8883"
    for device, url in (("cellar", "mqtts://c:1"), ("kitchen", "mqtt://c:1"), ("kitchen", "http://c")):
        with pytest.raises(ProvisioningError):
            remember_broker(mesh, device, url)


@pytest.mark.parametrize("line", ["app_url = 1", 'web_brokers = "x"', "own_brokers = []", '[own_brokers]\n"A B" = "x"'])
def test_settings_that_are_none_are_one_line(mesh: MeshFolder, line: str) -> None:
    path = mesh.folder / "mesh.toml"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ProvisioningError, match=str(path)):
        MeshFolder.open(mesh.folder)


def test_those_devices_hear_of_a_user_that_had_them_or_get_them(mesh: MeshFolder) -> None:
    for device in ("attic", "kitchen"):
        remember_broker(mesh, device, f"mqtts://{device}.local:8883")
    assert touched(mesh, None, ()) == ["attic", "kitchen"]
    assert touched(mesh, ("kitchen", "pantry"), ()) == ["kitchen"]
    assert touched(mesh, ("pantry",), ("attic",)) == ["attic"]
    assert touched(mesh, ("pantry",), None) == ["attic", "kitchen"]


def test_a_device_gets_its_own_users_alone_and_not_too_many() -> None:
    users = [UserRow("alice", HASH, None, 0.0), UserRow("bob", HASH, ("attic",), 0.0)]
    assert list(hashes_for("kitchen", users)) == ["alice"]
    assert list(hashes_for("attic", users)) == ["alice", "bob"]
    with pytest.raises(ProvisioningError, match="kitchen has a broker of its own and takes 64 users, not 65"):
        hashes_for("kitchen", [UserRow(f"user-{number}", HASH, None, 0.0) for number in range(ARGUMENTS_MAX + 1)])


def test_a_job_with_users_is_read_strictly() -> None:
    job = Job("job-1", "home", "kitchen", 1, Action.USERS, {"alice": HASH})
    assert decode_job(encode(job)) == job
    assert decode_job(encode(replace(job, arguments={}))).arguments == {}
    for arguments in ({"Al Ice": HASH}, {"alice": 1}, {"alice": None}, {f"u-{n}": HASH for n in range(65)}):
        with pytest.raises(JobMessageError):
            decode_job(json.dumps(json.loads(encode(job)) | {"arguments": arguments}))
    full = replace(job, arguments={f"user-{'x' * 58}"[:62] + f"{n:02}": HASH for n in range(64)})
    assert decode_job(encode(full)) == full, "as many as a device takes fit into a job"


async def test_a_user_is_added_whose_password_is_kept_nowhere_but_in_their_file(
    mesh: MeshFolder, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    added = await add_user(mesh, "ana", ["kitchen"], password_file=file)
    assert (added.login, added.problem, file.read_text()) == ("user.ana", "", f"{added.password}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert added.password not in repr(added)
    with mesh.inventory() as inventory:
        (ana,) = inventory.users()
    assert matches(added.password, ana.password_hash)
    assert ana.devices == ("kitchen",)
    assert await remove_user(mesh, "ana") == ""
    with pytest.raises(ProvisioningError, match="no user 'ana'"):
        await remove_user(mesh, "ana")


@pytest.mark.parametrize("name", ["Ana", "operator", "", "a" * 65])
async def test_names_that_are_nobodys_are_refused(mesh: MeshFolder, name: str) -> None:
    with pytest.raises(SettingsError):
        await add_user(mesh, name, None)


async def test_a_password_that_can_not_be_written_leaves_no_user(mesh: MeshFolder, tmp_path: Path) -> None:
    with pytest.raises(ProvisioningError, match="can't be written"):
        await add_user(mesh, "ana", None, password_file=tmp_path / "none" / "ana")
    with mesh.inventory() as inventory:
        assert inventory.users() == []
