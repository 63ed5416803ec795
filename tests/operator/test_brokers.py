"""A mesh's brokers as a library has them: what a check finds, what is written for others, what an error is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from broker.access_results import Kind
from broker.embedded import EmbeddedBroker
from broker.passwords import hash_password
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection
from edge_agent.core.errors import SettingsError
from edge_agent.operator.broker.check import Report, check_broker
from edge_agent.operator.broker.render import render_files
from edge_agent.operator.broker.run import device_broker, embedded_broker, mosquitto_broker
from edge_agent.operator.broker.setup import BrokerOptions, mosquitto_files, node_settings, server_files
from provisioning.mesh import MeshFolder, MeshSettings
from tests.support.ports import free_ports
from tests.support.secured import HOST

pytestmark = pytest.mark.broker

OPTIONS = BrokerOptions(host=HOST, web=False)


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    devices, passwords = (f"mqtts://{HOST}:{port}" for port in free_ports(2))
    return MeshFolder.create(tmp_path / "home", MeshSettings("home", (devices,), passwords))


async def checked(mesh: MeshFolder, url: str, password_url: str | None = None) -> Report:
    return await asyncio.to_thread(check_broker, mesh, mesh.authority(), url, password_url)


async def test_an_open_broker_fails_its_check_and_the_report_says_what_leaks(mesh: MeshFolder) -> None:
    async with EmbeddedBroker(kind="mosquitto") as broker:
        report = await checked(mesh, broker.url, broker.url)
    assert not report.good
    leaks = report.of_kind(Kind.LEAK)
    assert {"stranger without certificate", "stranger without password"} <= {one.who for one in leaks}
    assert any(one.who == "user" and one.action == "write" and "/proposals" in one.topic for one in leaks)


async def test_a_broker_that_knows_no_guests_is_checked_without_them_and_the_report_says_so(mesh: MeshFolder) -> None:
    (url,) = mesh.settings.brokers
    server = server_files(mesh, (), mesh.authority)
    async with mosquitto_broker(mesh, mosquitto_files(mesh, OPTIONS, server)):
        report = await checked(mesh, url, url)
    assert report.good
    assert "does not know the users made for this check" in report.untried[0]


def test_what_is_rendered_for_other_engines_holds_the_same_rights(mesh: MeshFolder, tmp_path: Path) -> None:
    with mesh.inventory() as inventory:
        inventory.add_user("alice", hash_password("secret"), None)
    server = server_files(mesh, (), mesh.authority)
    for engine in ("emqx", "table"):
        render_files(mesh, engine, OPTIONS, server, tmp_path / engine, Path("/etc/moamesh/broker"), "mosquitto")
    rules = (tmp_path / "emqx" / "acl.conf").read_text()
    rights = json.loads((tmp_path / "table" / "access.json").read_text())
    assert set(rights) == {"device", "operator", "user.alice"}
    for who, grants in rights.items():
        for grant in grants:
            topic = grant["topic"].replace("{name}", "${username}")
            verb = {"write": "publish", "read": "subscribe"}[grant["action"]]
            name = '{re, "^[a-z0-9-]+$"}' if who == "device" else f'"{who}"'
            (rule,) = [line for line in rules.splitlines() if f"{{username, {name}}}, {verb}" in line]
            assert f'"{topic}"' in rule
    assert rules.endswith("{deny, all}.\n")


def _unwritable(mesh: MeshFolder) -> object:
    (mesh.folder / "a-file").touch()
    server = server_files(mesh, (), mesh.authority)
    return render_files(mesh, "table", OPTIONS, server, mesh.folder / "a-file" / "into", Path("/etc"), "mosquitto")


def _no_node(mesh: MeshFolder) -> object:
    server = server_files(mesh, (), mesh.authority)
    return node_settings(mesh, OPTIONS, server, "no name", (), 5210, None)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (_unwritable, "a-file"),
        (_no_node, "must be NAME@HOST"),
        (lambda mesh: server_files(mesh, ["b@d"], mesh.authority), "b@d"),
        (lambda mesh: check_broker(mesh, mesh.authority(), "mqtts://127.0.0.1:1", None), "Connection refused"),
    ],
)
def test_what_goes_wrong_is_a_settings_error_of_one_line(
    attempt: Callable[[MeshFolder], Any], said: str, mesh: MeshFolder
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        attempt(mesh)
    assert "\n" not in str(caught.value)


def _shared() -> AgentConfig:
    return AgentConfig(device=DeviceSection(id="kitchen"), broker=BrokerSection(urls=("mqtt://127.0.0.1:1883",)))


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        (lambda port: embedded_broker(port=port), "is taken"),
        (lambda _: embedded_broker(kind="hivemq"), "hivemq"),
        (lambda _: device_broker(_shared()), "this device has no broker of its own"),
    ],
)
async def test_a_broker_that_does_not_start_is_a_settings_error(
    broker: Callable[[int], AbstractAsyncContextManager[object]], said: str
) -> None:
    async with EmbeddedBroker() as there:
        with pytest.raises(SettingsError, match=said):
            async with broker(there.port):
                pytest.fail("it runs")


async def test_an_error_of_the_caller_s_own_stays_as_it_is_and_the_broker_ends() -> None:
    ran = []

    async def work() -> None:
        async with embedded_broker() as broker:
            ran.append(broker)
            raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        await work()
    assert not ran[0].running
