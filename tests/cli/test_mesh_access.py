"""Commands at a broker that wants to know who asks: real processes, mosquitto with TLS and passwords, a real device."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.cli.mesh_address import find_mesh, make_access
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.device_process import DeviceProcess
from tests.cli.test_live_commands import home, moamesh
from tests.support.secured import HOST, SecuredMesh

__all__ = ["home"]
pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[list[str]]:
    """A mesh of one device, and the options with which user alice reaches it."""
    mesh = SecuredMesh(folder, "test")
    badge, alice = mesh.device("kitchen"), mesh.user("alice")
    files = mesh.broker_files(folder / "broker")
    (folder / "password").write_text(f"{alice.password}\n")
    device = BrokerSection(
        urls=(f"mqtts://{HOST}:{files.config.listeners.devices}",),
        ca_file=mesh.ca,
        crl_file=mesh.crl,
        cert_file=badge.certificate,
        key_file=badge.key,
    )
    config = AgentConfig(
        device=DeviceSection(id="kitchen", mesh="test", data_dir=folder / "data"),
        broker=device,
        engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
    )
    write_config(config, folder / "agent.toml")
    agent = DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")
    async with MosquittoBroker(files, lambda: mesh.people):
        await agent.start()
        try:
            url = f"mqtts://{HOST}:{files.config.listeners.passwords}"
            yield ["--broker", url, "--mesh", "test", "--ca-file", str(mesh.ca)]
        finally:
            await agent.stop()


async def test_a_user_asks_and_looks_over_tls_with_a_password(tmp_path: Path, home: dict[str, str]) -> None:
    async with secured(tmp_path) as where:
        login = ["--username", "user.alice", "--password-file", str(tmp_path / "password")]
        asked = await _run(home, "ask", "why?", "--device", "kitchen", "--layers", "0", "--json", *where, *login)
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["outcome"] == "answered"
        variables = {
            "MOAMESH_BROKER__URLS": where[1],
            "MOAMESH_DEVICE__MESH": "test",
            "MOAMESH_BROKER__CA_FILE": where[5],
            "MOAMESH_BROKER__USERNAME": "user.alice",
            "MOAMESH_BROKER__PASSWORD_FILE": str(tmp_path / "password"),
        }
        looked = await _run(home | variables, "status", "--once", "--json")
        assert looked.returncode == 0, looked.stderr
        assert [device["device_id"] for device in json.loads(looked.stdout)["devices"]] == ["kitchen"]
        refused = await _run(home, "status", "--once", *where)
        assert refused.returncode == 2
        (line,) = refused.stderr.strip().splitlines()
        assert "uthori" in line


async def _run(home: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(moamesh, home, *arguments)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cert_file": Path(__file__)}, "--cert-file and --key-file belong together"),
        ({"password_file": Path(__file__)}, "--password-file needs --username"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "--ca-file /nowhere/ca.pem: there is no such file"),
        ({"username": "user.a", "password_file": Path("/nowhere/p")}, "--password-file /nowhere/p: No such file"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(options: dict[str, Path | str], says: str) -> None:
    given = dict.fromkeys(("ca_file", "cert_file", "key_file", "username", "password_file", "broker_of"))
    with pytest.raises(SettingsError, match=says):
        make_access(**{**given, **options})  # type: ignore[arg-type]  # by name


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sk-12345\n")
    access = make_access(None, None, None, "user.alice", tmp_path / "password", None)
    assert access.password == "sk-12345"
    assert "sk-12345" not in repr(find_mesh("mqtts://h", "home", access))


def test_no_command_of_a_user_takes_a_revocation_list(tmp_path: Path) -> None:
    """Should one, docs/SECURITY.md is to say so."""
    mesh = SecuredMesh(tmp_path)
    access = make_access(mesh.ca, None, None, None, None, None)
    assert access.tls is not None
    assert (access.tls.ca, access.tls.revoked) == (str(mesh.ca), None)
