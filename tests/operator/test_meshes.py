"""Which mesh is meant where a local one runs, some were made here, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.runs import RunningFleet, announce, new_run_folder
from edge_agent.operator.meshes import find_mesh, open_mesh
from edge_agent.operator.users import find_users
from provisioning.errors import ProvisioningError
from provisioning.mesh import MeshFolder, MeshSettings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    return tmp_path


def make(home: Path, name: str, *users: str) -> None:
    mesh = MeshFolder.create(home / "meshes" / name, MeshSettings(name))
    with mesh.inventory() as inventory:
        for user in users:
            inventory.add_user(user, "hash", None)


def start(*users: str) -> None:
    """A local mesh, as another process would find it, for as long as this one lives."""
    folder = new_run_folder()
    announce(folder, "mqtt://127.0.0.1:1", "local", ("device-1",))
    for user in users:
        FleetPeople(folder).put(user)


def found(name: str | None) -> str:
    mesh = find_mesh(name)
    return f"{mesh.mesh} runs" if isinstance(mesh, RunningFleet) else mesh.name


def test_where_there_is_only_one_mesh_it_needs_no_name(home: Path) -> None:
    with pytest.raises(SettingsError, match="start one with `moamesh up`"):
        find_mesh(None)
    with pytest.raises(ProvisioningError, match="make one: moamesh mesh create NAME"):
        open_mesh(None)
    make(home, "garden")
    assert (found(None), open_mesh(None).name) == ("garden", "garden")
    make(home, "shed")
    for ask in (find_mesh, open_mesh):
        with pytest.raises(ProvisioningError, match=r"several meshes \(garden, shed\)"):
            ask(None)
    assert found("shed") == "shed"
    with pytest.raises(ProvisioningError, match="there is no mesh 'attic'"):
        find_mesh("attic")


def test_a_local_mesh_that_runs_is_meant_unless_others_were_made_here(home: Path) -> None:
    start("alice")
    assert (found(None), found("local")) == ("local runs", "local runs")
    assert [(one.name, one.mesh, one.added_at) for one in find_users(None)] == [("alice", "local", None)]
    make(home, "garden", "bob")
    with pytest.raises(
        SettingsError, match=r"that runs \(local\) or one made here \(garden\)\? Choose one with --mesh"
    ):
        find_mesh(None)
    assert (found("local"), found("garden")) == ("local runs", "garden")
    assert [(one.name, one.mesh) for one in find_users(None)] == [("bob", "garden")]
    assert [one.name for one in find_users("local")] == ["alice"]
    make(home, "local", "carl")
    assert (found("local"), [one.name for one in find_users("local")]) == ("local", ["carl"])
