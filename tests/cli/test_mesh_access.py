"""Commands at a broker that wants to know who asks: mosquitto with TLS and passwords, a real device."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.cli.mesh_address import find_mesh
from edge_agent.cli.mesh_options import MeshOptions
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.device_process import DeviceProcess
from tests.cli.test_live_commands import home
from tests.support.commands import moamesh_beside
from tests.support.secured import HOST, SecuredMesh

__all__ = ["home"]
pytestmark = pytest.mark.broker
ASK = ("ask", "why?", "--device", "kitchen", "--layers", "0")


@contextlib.asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[tuple[SecuredMesh, list[str]]]:
    """A mesh of one device, and the options with which its broker is reached."""
    mesh = SecuredMesh(folder, "test")
    credentials, alice = mesh.device("kitchen"), mesh.user("alice")
    files = mesh.broker_files(folder / "broker")
    (folder / "password").write_text(f"{alice.password}\n")
    device = BrokerSection(
        urls=(f"mqtts://{HOST}:{files.config.listeners.devices}",),
        ca_file=mesh.ca,
        crl_file=mesh.crl,
        cert_file=credentials.certificate,
        key_file=credentials.key,
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
            yield mesh, ["--broker", url, "--mesh", "test", "--ca-file", str(mesh.ca)]
        finally:
            await agent.stop()


async def test_a_user_asks_and_looks_over_tls_with_a_password(tmp_path: Path, home: dict[str, str]) -> None:
    async with secured(tmp_path) as (_, where):
        login = ["--username", "user.alice", "--password-file", str(tmp_path / "password")]
        asked = await moamesh_beside(home, *ASK, "--json", *where, *login)
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["outcome"] == "answered"
        variables = {
            "MOAMESH_BROKER__URLS": where[1],
            "MOAMESH_DEVICE__MESH": "test",
            "MOAMESH_BROKER__CA_FILE": where[5],
            "MOAMESH_BROKER__USERNAME": "user.alice",
            "MOAMESH_BROKER__PASSWORD_FILE": str(tmp_path / "password"),
        }
        looked = await moamesh_beside(home | variables, "status", "--once", "--json")
        assert looked.returncode == 0, looked.stderr
        assert [device["device_id"] for device in json.loads(looked.stdout)["devices"]] == ["kitchen"]
        refused = await moamesh_beside(home, "status", "--once", *where)
        assert refused.returncode == 2
        (line,) = refused.stderr.strip().splitlines()
        assert "uthori" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cert_file": Path(__file__)}, "--cert-file and --key-file belong together"),
        ({"password_file": Path(__file__)}, "--password-file needs --username"),
        ({"crl_file": Path("/nowhere/crl.pem")}, "--crl-file /nowhere/crl.pem: there is no such file"),
        ({"crl_file": Path(__file__)}, "is not PEM"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "--ca-file /nowhere/ca.pem: there is no such file"),
        ({"username": "user.a", "password_file": Path("/nowhere/p")}, "--password-file /nowhere/p: No such file"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(options: dict[str, Path | str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        MeshOptions(**options).access()  # type: ignore[arg-type]  # by name


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sk-12345\n")
    access = MeshOptions(username="user.alice", password_file=tmp_path / "password").access()
    assert access.password == "sk-12345"
    assert "sk-12345" not in repr(find_mesh("mqtts://h", "home", access))


async def test_a_command_with_the_revocation_list_tells_a_stolen_brokers_key_no_password(
    tmp_path: Path, home: dict[str, str]
) -> None:
    async with secured(tmp_path) as (mesh, where):
        login = ["--username", "user.alice", "--password-file", str(tmp_path / "password")]
        login += ["--crl-file", str(mesh.crl)]
        asked = await moamesh_beside(home, *ASK, *where, *login)
        assert asked.returncode == 0, asked.stderr
        mesh.revoke(mesh.server)
        refused = await moamesh_beside(home, "status", "--once", *where, *login)
        assert refused.returncode == 2
        assert "revoked" in refused.stderr
