"""Every state file x every damage: named in one line with the way out, and never taken for new.

docs/STATE.md lists the files; `test_the_page_names_every_state_file` holds the two together.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.access import UserLogin
from broker.mosquitto_files import BrokerFilesError
from broker.passwords import hash_password
from broker.people_file import PeopleFile
from edge_agent.adapters.home_assistant import Announced
from edge_agent.cli.main import app
from edge_agent.config import load_config
from edge_agent.core.errors import MoameshError
from edge_agent.files import write_atomically
from edge_agent.fleet.runs import announce, find_running, new_run_folder
from edge_agent.gateway.keys import KeyRing, add_key, load_keys
from edge_agent.management.claim import _read as read_invitation
from edge_agent.management.job_record import JobRecord
from edge_agent.management.operator_settings import OperatorSettings
from edge_agent.models.store import ModelFile, StoredFile, find, list_models, write_manifest
from edge_agent.operator.broker.setup import cluster_secret
from edge_agent.operator.jobs import open_job_store
from provisioning.errors import ProvisioningError
from provisioning.identity_store import IdentityStore
from provisioning.jobs import Action, Job
from provisioning.mesh import MeshFolder, MeshSettings
from tests.conftest import missing
from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[1]
NOBODY = 65_534
SAID = (MoameshError, ProvisioningError, BrokerFilesError)
"""What the command line prints in one line, with exit status 2."""


@dataclass
class World:
    """A mesh of an operator, a device of it, and a person's files, all in one folder."""

    folder: Path
    mesh: MeshFolder
    store: IdentityStore

    @property
    def data(self) -> Path:
        return self.folder / "device"


@dataclass(frozen=True)
class StateFile:
    """Where a file is in the world, who reads it, and what of the wrong shape might stand there."""

    path: str
    read: Callable[[World, Path], Any]
    shapes: tuple[bytes, ...]


JSON_SHAPES = (b"[]", b"null", b"7", b'{"x": 1}', b"[" * 50_000)
PEM_SHAPES = (b"hello\n", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def other_database(folder: Path) -> bytes:
    path = folder / "other.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")
        database.execute("PRAGMA user_version = 1")
    content = path.read_bytes()
    path.unlink()
    return content


def rows_of_job_store(world: World, _: Path) -> object:
    with contextlib.closing(open_job_store(world.mesh)) as job_store:
        return job_store.rows()


def unlisted(world: World, _: Path) -> object:
    with world.mesh.inventory() as inventory:
        return world.mesh.unlisted(inventory)


def devices(world: World, _: Path) -> object:
    with world.mesh.inventory() as inventory:
        return inventory.devices()


def web_authority(world: World, _: Path) -> object:
    return world.mesh.web_authority(world.mesh.authority(), ["hub.lan"])


def cookie(world: World, _: Path) -> object:
    return cluster_secret(world.mesh, None)


FILES = {
    "mesh.toml": StateFile(
        "mesh/mesh.toml", lambda world, path: MeshFolder.open(path.parent), (b"x = 1", b"name = 7", b"[")
    ),
    "ca.pem": StateFile("mesh/ca.pem", lambda world, _: world.mesh.authority(), PEM_SHAPES),
    "ca.key": StateFile("mesh/ca.key", lambda world, _: world.mesh.authority(), PEM_SHAPES),
    "crl.pem": StateFile("mesh/crl.pem", unlisted, PEM_SHAPES),
    "operator.pem": StateFile("mesh/operator.pem", rows_of_job_store, PEM_SHAPES),
    "operator.key": StateFile("mesh/operator.key", rows_of_job_store, PEM_SHAPES),
    "web-ca.pem": StateFile("mesh/web-ca.pem", web_authority, PEM_SHAPES),
    "web-ca.key": StateFile("mesh/web-ca.key", web_authority, PEM_SHAPES),
    "inventory.sqlite3": StateFile("mesh/inventory.sqlite3", devices, ()),
    "jobs.sqlite3": StateFile("mesh/jobs.sqlite3", rows_of_job_store, ()),
    "cluster.cookie": StateFile("mesh/cluster.cookie", cookie, (b"\xff\xfe",)),
    "identity.pem": StateFile("identity/identity.pem", lambda world, _: world.store.certificate(), PEM_SHAPES),
    "previous.pem": StateFile("identity/previous.pem", lambda world, _: world.store.roll_back(), PEM_SHAPES),
    "pending.key": StateFile("identity/pending.key", lambda world, _: world.store.claim_request("x"), PEM_SHAPES),
    "the device's ca.pem": StateFile("identity/ca.pem", lambda world, _: world.store.bundle(), PEM_SHAPES),
    "invitation": StateFile("invitation.json", lambda _, path: read_invitation(path), JSON_SHAPES),
    "agent.toml": StateFile("agent.toml", lambda _, path: load_config(path), (b"x = 1", b"[device]\nid = 7\n")),
    "operator-settings.json": StateFile(
        "device/operator-settings.json",
        lambda world, _: OperatorSettings(None, {}, world.data).read(),
        (b"[]", b"7", b"[" * 50_000),
    ),
    "operator-settings.previous.json": StateFile(
        "device/operator-settings.previous.json",
        lambda world, _: OperatorSettings(None, {}, world.data).revert(),
        (b"[]", b"7"),
    ),
    "api-keys.json": StateFile("device/api-keys.json", lambda _, path: load_keys(path), (*JSON_SHAPES, b'{"keys": 7}')),
    "users.json": StateFile(
        "device/users.json", lambda _, path: PeopleFile(path).users(), (*JSON_SHAPES, b'{"users": [7]}')
    ),
    "manifest.json": StateFile("models/small/manifest.json", lambda *_: find("small"), JSON_SHAPES),
    "run.json": StateFile("moamesh/runs/RUN/run.json", lambda *_: find_running(), JSON_SHAPES),
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="moamesh-state-"))  # one that a user without rights can enter
    folder.chmod(0o755)
    monkeypatch.setenv("MOAMESH_HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    try:
        yield _make(folder)
    finally:
        shutil.rmtree(folder)


def _make(folder: Path) -> World:
    mesh = MeshFolder.create(folder / "mesh", MeshSettings("home"))
    store = IdentityStore(folder / "identity", "home", "kitchen")
    store.trust(mesh.bundle().pem)
    authority = mesh.authority()
    store.adopt(mesh.enrol("kitchen", authority))
    mesh.enrol("barn", authority)
    mesh.revoke("barn", authority)
    mesh.web_authority(authority, ["hub.lan"])
    store.claim_request("x")
    (folder / "identity" / "previous.pem").write_bytes(store.identity_file.read_bytes())
    world = World(folder, mesh, store)
    job_store = open_job_store(mesh)
    job_store.ask("kitchen", Action.RESTART)
    job_store.close()
    cookie(world, folder)
    invitation = dict.fromkeys(("mesh", "device_id", "secret", "claim_broker", "bundle"), "x")
    (folder / "invitation.json").write_text(json.dumps(invitation))
    (folder / "agent.toml").write_text('[device]\nid = "kitchen"\n[broker]\nurls = ["mqtt://127.0.0.1:1883"]\n')
    settings = OperatorSettings(folder / "agent.toml", {}, world.data)
    world.data.mkdir()
    settings.change({"agent.layers": 1})
    add_key(world.data / "api-keys.json", "laptop")
    PeopleFile(world.data / "users.json").replace([UserLogin("alice", hash_password("secret"))])
    (folder / "models" / "small").mkdir(parents=True)
    (folder / "models" / "small" / "m.gguf").write_bytes(b"GGUF")
    stored = StoredFile("m.gguf", "0" * 64, 4, "Q8_0")
    write_manifest(ModelFile("small", "llama", "", "file:m", folder / "models" / "small", stored, stored, "only"))
    run = new_run_folder()
    announce(run, "mqtt://127.0.0.1:1", "local", ("device-1",))
    return world


def path_of(world: World, name: str) -> Path:
    path = world.folder / FILES[name].path
    return next((world.folder / "moamesh" / "runs").iterdir()) / "run.json" if name == "run.json" else path


@contextlib.contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """Runs as a user who may enter every folder on the way, and not open the file."""
    if os.geteuid() != 0:
        missing("giving up rights needs root")
    (top,) = [folder for folder in path.parents if folder.name.startswith("moamesh-state-")]
    for one in (top, *top.rglob("*")):
        os.chown(one, NOBODY, NOBODY)
    os.chown(path, 0, 0)
    path.chmod(0)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refuses(world: World, name: str, path: Path, what: str) -> None:
    """It is said in one line, with the file and the way out, and nothing is made in its place."""
    before = sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(".lock"))
    with pytest.raises(SAID) as caught:
        FILES[name].read(world, path)
    line = str(caught.value)
    assert str(path) in line, (what, line)
    assert line.isprintable(), (what, line)
    assert len(line) < 400, (what, line)
    after = sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(".lock"))
    assert after == before, what


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_state_file_is_refused_in_one_line_and_never_taken_for_new(name: str, world: World) -> None:
    path, one = path_of(world, name), FILES[name]
    one_copy = path.with_name("whole.copy")
    path.exists()
    content = path.read_bytes()
    one_copy.write_bytes(content)
    shapes = one.shapes or (other_database(world.folder),)
    damages = {"no bytes": b"", "half": content[: len(content) // 2], "NULs": b"\0" * len(content)}
    damages |= {f"shape {shape[:20]!r}": shape for shape in shapes}
    for what, damaged in damages.items():
        if name in ("mesh.toml", "agent.toml", "cluster.cookie") and what in ("no bytes", "half"):
            continue  # text without a frame: half of it may be whole; what is missing in it is said by its reader
        path.write_bytes(damaged)
        refuses(world, name, path, what)
        assert path.read_bytes() == damaged, what
    path.unlink()
    path.mkdir()
    refuses(world, name, path, "a folder")
    path.rmdir()
    path.symlink_to(path.with_name("gone"))
    refuses(world, name, path, "a link to nothing")
    assert not path.with_name("gone").exists()
    path.unlink()
    path.write_bytes(content)
    with without_rights(path):
        refuses(world, name, path, "no permission")


@pytest.mark.parametrize("name", ["mesh.toml", "agent.toml", "cluster.cookie"])
def test_an_empty_text_is_refused_too(name: str, world: World) -> None:
    path = path_of(world, name)
    path.write_bytes(b"")
    refuses(world, name, path, "no bytes")


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_read(name: str, world: World) -> None:
    FILES[name].read(world, path_of(world, name))


def test_a_damaged_inventory_ends_every_command_with_status_2(world: World) -> None:
    shutil.move(world.folder / "mesh", world.folder / "meshes" / "home") if (
        world.folder / "meshes"
    ).mkdir() is None else None
    path = world.folder / "meshes" / "home" / "inventory.sqlite3"
    for content in (b"", path.read_bytes()[:5000], None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        for arguments in (["device", "list"], ["user", "list"], ["device", "revoke", "kitchen"], ["mesh", "show"]):
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 2, (arguments, result.output)
            assert str(path) in result.stderr
            assert "no devices yet" not in result.output
        if content is None:
            path.touch()


def test_a_lost_authority_is_not_made_anew(world: World) -> None:
    folder = world.mesh.folder
    for name in ("mesh.toml", "ca.pem"):
        (folder / name).unlink()
    key = (folder / "ca.key").read_bytes()
    with pytest.raises(ProvisioningError, match=r"ca\.pem is missing, but operator\.key is there"):
        MeshFolder.create(folder, MeshSettings("home"))
    assert (folder / "ca.key").read_bytes() == key


def test_a_creation_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    mesh = MeshFolder.create(tmp_path / "home", MeshSettings("home"))
    authority = mesh.bundle().pem
    for name in ("mesh.toml", "inventory.sqlite3", "operator.pem"):
        (mesh.folder / name).unlink()
    again = MeshFolder.create(tmp_path / "home", MeshSettings("home"))
    assert again.bundle().pem == authority
    with again.inventory() as inventory:
        assert inventory.devices() == []


def test_keys_that_cannot_be_read_do_not_open_the_door(world: World) -> None:
    path = world.data / "api-keys.json"
    content = path.read_bytes()
    path.unlink()
    path.symlink_to("gone")
    with pytest.raises(MoameshError, match="a link to a file that is not there"):
        KeyRing(path)
    path.unlink()
    path.write_bytes(content)
    ring = KeyRing(path)
    path.write_bytes(b"")
    ring.refresh()
    assert ring.needed


def test_models_that_are_whole_are_listed_beside_a_damaged_one(world: World) -> None:
    bad = world.folder / "models" / "bad"
    bad.mkdir()
    (bad / "manifest.json").write_bytes(b"")
    assert [model.name for model in list_models()] == ["small"]
    result = CliRunner().invoke(app, ["models", "list"])
    assert result.exit_code == 2
    assert result.stderr == (
        f"moamesh: {bad}/manifest.json: damaged; run `moamesh models pull bad`, or pull it from where it came from: "
        "files that are complete are used again\n"
    )


# --- files whose damage a running device survives ---------------------------------------------------------------------


def make_damages(path: Path, content: bytes) -> Iterator[str]:
    for what, damaged in (
        ("no bytes", b""),
        ("half", content[: len(content) // 2]),
        ("NULs", b"\0" * len(content)),
        *((f"shape {shape[:20]!r}", shape) for shape in JSON_SHAPES),
    ):
        _away(path)
        path.write_bytes(damaged)
        yield what
    _away(path)
    path.mkdir()
    (path / "inside").touch()
    yield "a folder"
    _away(path)
    path.symlink_to(path.with_name("gone"))
    yield "a link to nothing"


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_a_device_with_a_damaged_record_of_jobs_lives_and_does_no_job_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.json"
    record = JobRecord(path)
    done = Job("job-1", "home", "kitchen", 1_700_000_000_000, Action.RESTART, {})
    record.add(done)
    for what in make_damages(path, path.read_bytes()):
        caplog.clear()
        again = JobRecord(path)
        again.open()
        assert again.sequence > done.sequence, what  # so a recorded job is not believed a second time
        assert [entry for entry in caplog.records if str(path) in entry.getMessage()], what
        kept = JobRecord(path)
        kept.open()
        assert kept.sequence == again.sequence, what


def test_a_damaged_note_of_announcements_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "home-assistant.json"
    Announced(tmp_path).add("homeassistant/device/a/config")
    for what in make_damages(path, path.read_bytes()):
        caplog.clear()
        announced = Announced(tmp_path)
        assert announced.topics() == ()
        assert announced.topics() == ()
        assert len([entry for entry in caplog.records if entry.levelno == logging.ERROR]) == 1, what
        assert str(path) in caplog.text


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_no_writer_loses_what_was_there_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", kib=512) as disk:
        monkeypatch.setenv("MOAMESH_HOME", str(disk))
        monkeypatch.setenv("XDG_STATE_HOME", str(disk))
        world = _make(disk)
        authority = world.mesh.authority()
        job_store = open_job_store(world.mesh)
        record = JobRecord(world.data / "jobs.json")
        record.add(Job("job-1", "home", "kitchen", 1, Action.RESTART, {}))
        settings = OperatorSettings(disk / "agent.toml", {}, world.data)
        people = PeopleFile(world.data / "users.json")
        model = find("small")
        many = [UserLogin(f"user-{number}", hash_password("x")) for number in range(3)] * 60
        writers: dict[str, Callable[[], object]] = {
            "mesh.toml": world.mesh.save,
            "crl.pem": lambda: authority.revoke(range(1, 300)),
            "operator.pem": lambda: world.mesh.renew_operator(authority),
            "jobs.sqlite3": lambda: job_store.ask("kitchen", Action.SET, {f"agent.x{n}": "y" * 100 for n in range(60)}),
            "jobs.json": lambda: record.add(Job("job-2", "home", "kitchen", 2, Action.RESTART, {})),
            "operator-settings.json": lambda: settings.change({"agent.layers": 0}),
            "api-keys.json": lambda: add_key(world.data / "api-keys.json", "phone"),
            "users.json": lambda: people.replace(many),
            "manifest.json": lambda: write_manifest(model),
            "run.json": lambda: announce(path_of(world, "run.json").parent, "mqtt://127.0.0.1:2", "local", ()),
        }
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        for name, write in writers.items():
            with pytest.raises((*SAID, OSError)) as caught:
                write()
            assert str(caught.value).isprintable(), name
            left = {path: path.read_bytes() for path in before}
            assert left == before, name
            files = {path for path in disk.rglob("*") if path.is_file() and path.stat().st_size}
            assert files - before.keys() == {disk / "filler"}, name
        (disk / "filler").unlink()
        for write in writers.values():
            write()
        job_store.close()


def test_a_temporary_file_has_the_modes_of_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_the_page_names_every_state_file() -> None:
    page = (ROOT / "docs" / "STATE.md").read_text(encoding="utf-8")
    names = {Path(one.path).name for one in FILES.values()} | {"jobs.json", "home-assistant.json", "verified.json"}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
