"""What a device does when a job asks for it, with real files and a real model download."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.passwords import hash_password
from broker.people_file import PeopleFile
from edge_agent import __version__
from edge_agent.config import load_config
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.management.actions import DeviceActions
from edge_agent.management.operator_settings import OperatorSettings
from provisioning.jobs import Action, Job


@pytest.fixture
def settings(tmp_path: Path) -> OperatorSettings:
    config = tmp_path / "agent.toml"
    config.write_text('[device]\nid = "kitchen"\n\n[engine]\nkind = "synthetic"\n\n[agent]\nlayers = 3\n')
    (tmp_path / "data").mkdir()
    return OperatorSettings(config, {}, tmp_path / "data")


def job(action: Action, **arguments: object) -> Job:
    return Job("job-1", "home", "kitchen", 1, action, arguments)


def no_progress(_share: float) -> None: ...


async def test_a_setting_is_in_force_after_the_restart_and_the_devices_file_is_as_it_was(
    settings: OperatorSettings, tmp_path: Path
) -> None:
    before = (tmp_path / "agent.toml").read_text()
    changes = {"agent.layers": 1, "agent.peer_selection": "two-choices"}
    performed = await DeviceActions(settings).perform(Job("j", "home", "kitchen", 1, Action.SET, changes), no_progress)
    assert performed.restart
    loaded = settings.load()
    assert (loaded.agent.layers, loaded.agent.peer_selection) == (1, "two-choices")
    assert (tmp_path / "agent.toml").read_text() == before
    assert load_config(tmp_path / "agent.toml").agent.layers == 3


async def test_a_setting_taken_back_is_the_files_again(settings: OperatorSettings) -> None:
    settings.change({"agent.layers": 1})
    settings.change({"agent.layers": None, "agent.fanout": 1})
    assert settings.load().agent.layers == 3
    settings.revert()
    assert settings.load().agent.layers == 1
    settings.revert()
    assert settings.load().agent.layers == 1


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("agent.layers", -1, "agent.layers"),
        ("agent.layrs", 1, "layrs"),
        ("agent.peer_selection", "nearest", "nearest"),
        ("engine.kind", "magic", "magic"),
        ("broker.url", "mqtt://elsewhere:1883", "cannot be set by a job"),
        ("device.id", "pantry", "cannot be set by a job"),
        ("engine.server_program", "/tmp/mine", "cannot be set by a job"),
    ],
)
async def test_a_setting_that_does_not_hold_changes_nothing(
    settings: OperatorSettings, name: str, value: object, problem: str
) -> None:
    settings.change({"agent.fanout": 1})
    with pytest.raises(SettingsError, match=problem):
        await DeviceActions(settings).perform(Job("j", "home", "kitchen", 1, Action.SET, {name: value}), no_progress)
    assert settings.read() == {"agent.fanout": 1}


async def test_a_model_that_does_not_exist_fails_in_one_line(settings: OperatorSettings) -> None:
    with pytest.raises(MoameshError) as raised:
        await DeviceActions(settings).perform(job(Action.PULL_MODEL, model="no-such-model", use=True), no_progress)
    assert "\n" not in str(raised.value)
    assert settings.read() == {}


async def test_an_upgrade_to_the_version_that_runs_is_done_at_once(settings: OperatorSettings) -> None:
    wanted = job(Action.UPGRADE, version=__version__, sha256="0" * 64)
    assert not (await DeviceActions(settings).perform(wanted, no_progress)).restart


@pytest.mark.parametrize("version", ["--index-url=http://evil", "1.0; rm -rf /", "", "latest"])
async def test_an_upgrade_takes_versions_only(settings: OperatorSettings, version: str) -> None:
    wanted = job(Action.UPGRADE, version=version, sha256="0" * 64)
    with pytest.raises(MoameshError, match="is not a version"):
        await DeviceActions(settings).perform(wanted, no_progress)


@pytest.mark.parametrize("sha256", ["", "abc", "0" * 63 + "G", "0" * 64 + " --hash=sha256:" + "1" * 64])
async def test_an_upgrade_takes_one_checksum_only(settings: OperatorSettings, sha256: str) -> None:
    with pytest.raises(MoameshError, match="checksum is 64 of 0-9 and a-f"):
        await DeviceActions(settings).perform(job(Action.UPGRADE, version="99.0", sha256=sha256), no_progress)


def test_an_upgrade_that_did_not_take_is_said(settings: OperatorSettings) -> None:
    with pytest.raises(MoameshError, match=f"but {__version__} runs"):
        DeviceActions(settings).confirm(job(Action.UPGRADE, version="99.0", sha256="0" * 64))


def test_damaged_operator_settings_name_their_file(settings: OperatorSettings, tmp_path: Path) -> None:
    (tmp_path / "data" / "operator-settings.json").write_text("{")
    with pytest.raises(SettingsError, match=r"operator-settings\.json"):
        settings.load()


async def test_users_of_a_device_with_its_own_broker_are_replaced_as_a_whole(
    settings: OperatorSettings, tmp_path: Path
) -> None:
    people = PeopleFile(tmp_path / "users.json")
    actions = DeviceActions(settings, people)
    hashed = hash_password("secret")
    performed = await actions.perform(job(Action.USERS, alice=hashed, bob=hashed), no_progress)
    assert (performed.detail, performed.restart) == ("users: alice, bob", False)
    assert [user.name for user in people.users()] == ["alice", "bob"]
    await actions.perform(job(Action.USERS, bob=hashed), no_progress)
    assert [user.name for user in people.users()] == ["bob"]
    with pytest.raises(MoameshError, match="the users cannot be kept"):
        await actions.perform(job(Action.USERS, bob="no hash\nroot:x"), no_progress)
    assert [user.name for user in people.users()] == ["bob"]
    assert (await actions.perform(job(Action.USERS), no_progress)).detail == "users: nobody"
    with pytest.raises(MoameshError, match="no broker of its own"):
        await DeviceActions(settings).perform(job(Action.USERS, bob=hashed), no_progress)
