"""A gateway at a broker that wants to know who asks: beside a member with a certificate, a user with a password."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, load_config, write_config
from edge_agent.config.surfaces import GatewaySection
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.gateway.of_config import options_of
from tests.gateway.programs import eventually
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import HOST, SecuredMesh


@contextlib.asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[str]:
    """A member of a mesh whose own gateway is user alice to the broker; yields the gateway's URL."""
    mesh = SecuredMesh(folder, "test")
    credentials, alice = mesh.device("kitchen"), mesh.user("alice")
    files = mesh.broker_files(folder / "broker")
    (folder / "password").write_text(f"{alice.password}\n")
    ports = files.config.listeners
    gateway = GatewaySection(
        enabled=True,
        port=free_ports(1)[0],
        broker=(f"mqtts://{HOST}:{ports.passwords}",),
        username="user.alice",
        password_file=folder / "password",
    )
    config = AgentConfig(
        device=DeviceSection(id="kitchen", mesh="test", data_dir=folder / "data"),
        broker=BrokerSection(
            urls=(f"mqtts://{HOST}:{ports.devices}",),
            ca_file=mesh.ca,
            crl_file=mesh.crl,
            cert_file=credentials.certificate,
            key_file=credentials.key,
        ),
        engine=EngineSection(kind="synthetic", service="deterministic:0.02"),
        gateway=gateway,
    )
    write_config(config, folder / "agent.toml")
    agent = DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")
    async with MosquittoBroker(files, lambda: mesh.people):
        await agent.start()
        try:
            yield f"http://127.0.0.1:{gateway.port}"
        finally:
            await agent.stop()


@pytest.mark.broker
async def test_a_members_gateway_is_a_user_of_the_mesh_with_a_password_of_its_own(tmp_path: Path) -> None:
    async with secured(tmp_path) as url:

        def ready() -> bool:
            try:
                return httpx.get(f"{url}/readyz", timeout=PATIENCE_S).status_code == 200
            except httpx.HTTPError:
                return False

        await asyncio.to_thread(eventually, ready, "the gateway sees its device")
        body = {"model": "local", "messages": [{"role": "user", "content": "why?"}]}
        answered = await asyncio.to_thread(httpx.post, f"{url}/v1/chat/completions", json=body, timeout=PATIENCE_S)
        assert answered.status_code == 200, answered.text
        assert answered.json()["moamesh"]["device"] == "kitchen"


def config_of(folder: Path, text: str) -> AgentConfig:
    path = folder / "agent.toml"
    path.write_text(f'[device]\nid = "kitchen"\ndata_dir = "data"\n{text}')
    return load_config(path)


def test_a_devices_gateway_is_at_home_where_the_device_is(tmp_path: Path) -> None:
    options = options_of(config_of(tmp_path, '[broker]\nurls = ["mqtt://hub:1883", "mqtt://hub2:1883"]\n'))
    assert (options.broker, options.mesh, options.device_id) == ("mqtt://hub:1883,mqtt://hub2:1883", "home", "kitchen")
    assert options.keys_file == tmp_path / "data" / "api-keys.json"
    assert (options.host, options.port, options.access.username) == ("127.0.0.1", 8080, None)


def test_a_users_listener_and_login_are_taken_from_the_section(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame\n")
    options = options_of(
        config_of(
            tmp_path,
            '[broker]\nca_file = "ca.pem"\n[gateway]\nbroker = ["mqtts://hub:8884"]\nusername = "user.alice"\n'
            'password_file = "password"\nkeys_file = "keys.json"\n',
        )
    )
    assert options.broker == "mqtts://hub:8884"
    assert (options.access.username, options.access.password) == ("user.alice", "sesame")
    assert options.access.principal == "user.alice"
    assert options.access.tls is not None
    assert (options.access.tls.ca, options.access.tls.certificate) == (str(tmp_path / "ca.pem"), None)
    assert options.keys_file == tmp_path / "keys.json"


def test_a_gateway_looks_at_the_revocation_list_of_its_settings(tmp_path: Path) -> None:
    options = options_of(config_of(tmp_path, '[broker]\nca_file = "ca.pem"\ncrl_file = "crl.pem"\n'))
    assert options.access.tls is not None
    assert options.access.tls.revoked == str(tmp_path / "crl.pem")


@pytest.mark.parametrize(
    ("local_port", "broker"), [("1883", "mqtt://127.0.0.1:1883"), ('"none"', "mqtts://127.0.0.1:8883")]
)
def test_beside_a_broker_of_its_own_the_device_is_asked_on_this_very_host(
    tmp_path: Path, local_port: str, broker: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local.secret").write_text("of the moment\n")
    files = 'mode = "own"\nca_file = "ca"\ncrl_file = "crl"\ncert_file = "cert"\nkey_file = "key"\n'
    options = options_of(config_of(tmp_path, f"[broker]\n{files}local_port = {local_port}\n"))
    assert options.broker == broker
    password = "of the moment" if local_port == "1883" else None
    assert (options.access.password, options.access.principal) == (password, "me")
    assert options.access.broker_of == ("" if local_port == "1883" else "kitchen")


def test_a_password_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[gateway\] password_file .*No such file"):
        options_of(config_of(tmp_path, '[gateway]\nusername = "user.a"\npassword_file = "missing"\n'))
