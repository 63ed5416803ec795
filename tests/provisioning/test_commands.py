"""`moamesh mesh`, `device` and `user`: what they do, say and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.cli.mesh_options import BROKER_VARIABLE, MESH_VARIABLE
from provisioning.mesh import MeshFolder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # no local mesh runs there
    for name in (BROKER_VARIABLE, MESH_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def told(*arguments: str) -> Any:
    status, output, errors = invoke(*arguments, "--json")
    assert status == 0, errors
    return json.loads(output)


def refused(*arguments: str) -> str:
    status, output, errors = invoke(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("moamesh: ")
    assert errors.count("\n") == 1
    return errors


def test_a_mesh_is_made_shown_and_listed() -> None:
    made = told("mesh", "create", "home", "--broker", "mqtts://hub.lan:8883")
    assert (made["name"], made["claim_broker"]) == ("home", "mqtts://hub.lan:8884")
    assert told("mesh", "show") == made
    assert told("mesh", "list") == {"meshes": [made]}
    assert "hub.lan" in invoke("mesh", "show", "home")[1]
    assert "home" in invoke("mesh", "list")[1]


def test_a_device_is_invited_listed_shown_and_revoked(tmp_path: Path) -> None:
    told("mesh", "create", "home")
    claim = told("device", "invite", "kitchen", "--expires", "2h", "--address", "10.0.0.7")
    assert len(claim["secret"]) >= 22  # 128 bits and more
    (row,) = told("device", "list")["devices"]
    assert (row["device_id"], row["state"], row["addresses"]) == ("kitchen", "invited", ["10.0.0.7"])
    assert row["claim_expires_at"] == claim["expires_at"]
    assert "kitchen" in invoke("device", "list")[1]

    mesh = MeshFolder.open(tmp_path / "meshes" / "home")
    mesh.enrol("garage", mesh.authority())
    shown = told("device", "show", "garage")
    assert [each["revoked"] for each in shown["certificates"]] == [False]
    assert shown["expires_at"] == shown["certificates"][0]["expires_at"]
    assert told("device", "revoke", "garage")["revoked"] == [shown["serial"]]
    assert told("device", "show", "garage")["certificates"][0]["revoked"]
    assert "revoked" in invoke("device", "show", "garage")[1]
    assert told("device", "revoke", "kitchen")["revoked"] == []


def test_a_claim_in_a_file_is_its_owners_alone_and_is_not_printed(tmp_path: Path) -> None:
    told("mesh", "create", "home")
    path = tmp_path / "claim.json"
    _, output, _ = invoke("device", "invite", "kitchen", "--output", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["secret"] not in output


def test_users_are_added_listed_and_removed_and_their_password_is_told_once() -> None:
    told("mesh", "create", "home")
    told("device", "invite", "kitchen")
    ana = told("user", "add", "ana", "--device", "kitchen")
    assert (ana["login"], ana["devices"]) == ("user.ana", ["kitchen"])
    told("user", "add", "ben")
    listed = told("user", "list")["users"]
    assert [(user["name"], user["devices"]) for user in listed] == [("ana", ["kitchen"]), ("ben", None)]
    assert ana["password"] not in json.dumps(listed)
    assert "kitchen" in invoke("user", "list")[1]
    told("user", "remove", "ana")
    assert [user["name"] for user in told("user", "list")["users"]] == ["ben"]


def test_a_password_that_can_not_be_written_leaves_no_user(tmp_path: Path) -> None:
    told("mesh", "create", "home")
    assert "can't be written" in refused("user", "add", "ana", "--output", str(tmp_path / "none" / "ana"))
    assert told("user", "list") == {"users": []}


def test_a_rotation_waits_for_the_devices(tmp_path: Path) -> None:
    told("mesh", "create", "home")
    mesh = MeshFolder.open(tmp_path / "meshes" / "home")
    mesh.enrol("kitchen", mesh.authority())
    begun = told("mesh", "rotate")
    assert (begun["rotating"], begun["waiting"]) == (True, ["kitchen"])
    assert "1 devices have not renewed yet (kitchen)" in refused("mesh", "rotate", "--finish")
    assert "a rotation is under way" in refused("mesh", "rotate")
    ended = told("mesh", "rotate", "--finish", "--force")
    assert [ca["generation"] for ca in ended["authorities"]] == [2]


def test_a_key_with_a_passphrase_asks_for_it(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("three words long\n")
    told("mesh", "create", "home", "--passphrase-file", str(passphrase))
    told("device", "invite", "kitchen")  # needs no key
    assert "is encrypted: give --passphrase-file" in refused("device", "revoke", "kitchen")
    passphrase.write_text("another\n")
    assert "passphrase is wrong" in refused("device", "revoke", "kitchen", "--passphrase-file", str(passphrase))
    passphrase.write_text("\n")
    assert "its first line is empty" in refused("device", "revoke", "kitchen", "--passphrase-file", str(passphrase))
    passphrase.write_text("three words long\n")
    told("device", "revoke", "kitchen", "--passphrase-file", str(passphrase))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mesh", "create", "home"), "mesh home exists already"),
        (("mesh", "create", "My_Mesh"), "1 to 64 of a-z, 0-9 and -"),
        (("mesh", "create", "other", "--broker", "mqtt://hub.lan"), "must use TLS"),
        (("mesh", "create", "other", "--broker", "mqtts://me:secret@hub.lan"), "not one with a user name"),
        (("mesh", "show", "other"), "there is no mesh 'other'"),
        (("device", "invite", "operator"), "may not be called 'operator'"),
        (("device", "invite", "broker"), "may not be called 'broker'"),
        (("device", "invite", "Kitchen"), "1 to 64 of a-z, 0-9 and -"),
        (("device", "invite", "kitchen", "--expires", "soon"), "a duration is"),
        (("device", "invite", "kitchen", "--address", "hub.lan"), "is not an IP address"),
        (("device", "revoke", "garage"), "there is no device 'garage'"),
        (("device", "show", "garage"), "there is no device 'garage'"),
        (("user", "add", "Ana"), "1 to 64 of a-z, 0-9 and -"),
        (("user", "add", "operator"), "may not be called 'operator'"),
        (("user", "add", "ana", "--device", "garage"), "there is no device 'garage'"),
        (("user", "remove", "ana"), "there is no user 'ana'"),
        (("mesh", "rotate", "--finish"), "no rotation is under way"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], reason: str) -> None:
    told("mesh", "create", "home")
    assert reason in refused(*arguments)


def test_without_a_mesh_and_with_several_it_says_what_to_do() -> None:
    assert "moamesh mesh create NAME" in refused("device", "list")
    told("mesh", "create", "home")
    told("mesh", "create", "work")
    assert "several meshes (home, work): choose one with --mesh" in refused("device", "list")
    assert told("device", "list", "--mesh", "work") == {"devices": []}


def test_damaged_settings_are_named_with_their_file(tmp_path: Path) -> None:
    told("mesh", "create", "home")
    path = tmp_path / "meshes" / "home" / "mesh.toml"
    path.write_text('name = "home"\nbrokrs = []\n')
    assert f"{path}: brokrs: unknown setting" in refused("mesh", "show")
