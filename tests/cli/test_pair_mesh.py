"""`moamesh pair` with a mesh with certificates: at its broker, and at a device that is its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest
from typer.testing import CliRunner

from broker.passwords import hash_password
from edge_agent.children.parent import with_parent
from edge_agent.cli.main import app as moamesh
from edge_agent.core import messages as m
from provisioning.identity_store import IdentityStore
from tests.provisioning.home import HOST, Home
from tests.support.paired_app import paired_app, read_link
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker

APP = "http://127.0.0.1:8080"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    return Home(tmp_path)


class Agent:
    """A device process with an identity that was made for it."""

    def __init__(self, home: Home, device_id: str, broker: str) -> None:
        store = IdentityStore(home.folder / "devices" / device_id / "identity", "home", device_id)
        store.trust(home.authority.bundle_pem)
        store.adopt(home.mesh.enrol(device_id, home.authority, [HOST]))
        store.take_crl(home.mesh.crl_file.read_bytes().decode())
        self.folder = home.folder / "devices" / device_id
        (self.folder / "agent.toml").write_text(
            f"""
            [device]
            id = "{device_id}"
            mesh = "home"
            data_dir = "data"
            [broker]
            {broker}
            ca_file = "identity/ca.pem"
            crl_file = "identity/crl.pem"
            cert_file = "identity/identity.pem"
            key_file = "identity/identity.pem"
            [engine]
            kind = "synthetic"
            service = "deterministic:0.02"
            [agent]
            layers = 1
            fanout = 1
            """
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self.folder / "agent.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_agent.fleet.agent_process"),
                *("--config", str(self.folder / "agent.toml")),
                stdout=log,
                stderr=log,
                preexec_fn=with_parent(signal.SIGTERM),
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def run(*arguments: str) -> tuple[int, str, str]:
    result = await asyncio.to_thread(CliRunner().invoke, moamesh, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


async def told(*arguments: str, status: int = 0) -> Any:
    ended, out, errors = await run(*arguments, "--json")
    assert ended == status, errors
    return json.loads(out)


async def refused(*arguments: str) -> str:
    status, out, errors = await run(*arguments)
    assert (status, out, errors.count("\n")) == (2, "", 1), errors
    return errors


async def test_a_user_of_a_mesh_pairs_asks_over_tls_and_is_shut_out(home: Home) -> None:
    agent = Agent(home, "kitchen", f'urls = ["{home.url(home.device_port)}"]')
    async with home.broker(), agent.running():
        web = f"wss://{HOST}:{home.web_port}"
        alice = await told("pair", "alice", "--app-url", APP, "--web-broker", web)
        assert (alice["problem"], alice["mesh"], alice["needs_ca"]) == ("", "home", True)
        bob = await told("pair", "bob", "--device", "kitchen")
        assert (bob["app_url"], bob["web_brokers"]) == (APP, [web]), "addresses are remembered"
        async with (
            paired_app(alice["link"], ca=home.mesh.ca_file) as app,
            paired_app(bob["link"], ca=home.mesh.ca_file, spies=True) as spy,
        ):
            assert isinstance(await app.ask("kitchen", "why is the sky blue?"), m.Answer)
            assert not any("/answers/" in topic for topic, _ in spy.inbox)
            assert (await told("pair", "alice", "--remove"))["removed"]
            async with asyncio.timeout(PATIENCE_S):
                await app.ended.wait()
        with pytest.raises(aiomqtt.MqttCodeError):
            async with paired_app(alice["link"], ca=home.mesh.ca_file):
                pass
        assert "no device 'cellar'" in await refused("pair", "carl", "--device", "cellar")
        assert [user["name"] for user in (await told("user", "list"))["users"]] == ["bob"]


async def test_users_of_a_device_that_is_its_own_broker_come_to_it_by_a_signed_job(home: Home) -> None:
    port, web_port = free_ports(2)
    agent = Agent(home, "kitchen", own_broker(port, web_port))
    where = f"mqtts://{HOST}:{port}"
    async with agent.running() as process:
        await until(lambda: listens(process.pid, port), "the device's broker is up")
        assert not listens(process.pid, web_port), "no door that nobody can come in by"
        assert "is not known to run its own broker" in await refused("user", "sync", "--device", "kitchen")
        synced = await told("user", "sync", "--device", "kitchen", "--broker", where, "--wait", f"{PATIENCE_S:g}")
        assert synced["problem"] == ""
        pairing = ("--device", "kitchen", "--app-url", APP, "--web-broker", f"wss://{HOST}:{web_port}")
        alice = await told("pair", "alice", *pairing)
        assert alice["problem"] == ""
        bob = await told("pair", "bob", *pairing)
        users = agent.folder / "data" / "users.json"
        assert users.stat().st_mode & 0o777 == 0o600
        assert read_link(alice["link"])["secret"] not in users.read_text()
        async with paired_app(alice["link"], ca=home.mesh.ca_file) as app:
            assert isinstance(await app.ask("kitchen", "why is the sky blue?"), m.Answer)
            assert (await told("pair", "alice", "--remove"))["problem"] == ""
            async with asyncio.timeout(PATIENCE_S):
                await app.ended.wait()
        with pytest.raises(aiomqtt.MqttCodeError):
            async with paired_app(alice["link"], ca=home.mesh.ca_file):
                pass
        async with paired_app(bob["link"], ca=home.mesh.ca_file) as app:
            assert isinstance(await app.ask("kitchen", "still there?"), m.Answer)
    assert "kitchen has not been told yet" in (await told("user", "sync", "--wait", "1", status=1))["problem"]


async def test_a_device_that_was_off_hears_of_its_users_from_mesh_serve(home: Home) -> None:
    port, web_port = free_ports(2)
    agent = Agent(home, "kitchen", own_broker(port, web_port))
    async with home.broker():
        serve = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_agent.cli.main", "mesh", "serve", "home"), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            with home.mesh.inventory() as inventory:
                inventory.put_user("alice", hash_password("secret"), ["kitchen"])
            later = ("user", "sync", "--device", "kitchen", "--broker", f"mqtts://{HOST}:{port}", "--wait", "0.1")
            assert "kitchen has not been told yet" in (await told(*later, status=1))["problem"]
            users = agent.folder / "data" / "users.json"
            async with agent.running():
                await until(lambda: users.exists() and "alice" in users.read_text(), "it has its user")
        finally:
            serve.terminate()
            await serve.wait()


def own_broker(port: int, web_port: int) -> str:
    """The section [broker] of a device that is its own broker here."""
    return f'mode = "own"\naddress = "{HOST}"\nport = {port}\nweb_port = {web_port}\nlocal_port = "none"\nmdns = false'


def listens(pid: int, port: int) -> bool:
    """Whether a child of this process listens there."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            if any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in child.net_connections("inet")):
                return True
    return False
