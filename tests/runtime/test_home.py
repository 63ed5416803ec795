"""A device at home at its own broker: one process that runs both."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from broker.local_login import LOCAL_SECRET_FILE
from edge_agent.client import Access, ClientSettings, MeshClient
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import Answer, PromptOptions
from edge_agent.core.settings import AgentSettings
from edge_agent.runtime import home as homes
from edge_agent.runtime.home import Home, find_home, own_broker, until_moved
from edge_agent.tasks import within
from tests.support.commands import moamesh_beside
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports
from tests.support.secured import HOST, SecuredMesh


def config_of(folder: Path, **broker: object) -> AgentConfig:
    mesh = SecuredMesh(folder, "test")
    credentials = mesh.device("kitchen")
    port, local_port = free_ports(2)
    files = {
        "ca_file": mesh.ca,
        "crl_file": mesh.crl,
        "cert_file": credentials.certificate,
        "key_file": credentials.key,
    }
    given = {"mode": "own", "address": HOST, "port": port, "local_port": local_port, "mdns": False, **files, **broker}
    return AgentConfig(
        device=DeviceSection(id="kitchen", mesh="test", data_dir=folder / "data"),
        broker=BrokerSection(**given),  # type: ignore[arg-type]  # by name
        engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
        agent=replace(AgentSettings(), status_interval_s=0.5),
    )


@contextlib.asynccontextmanager
async def agent(config: AgentConfig, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    path = folder / "agent.toml"
    write_config(config, path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(path)), stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def broker_of(process: asyncio.subprocess.Process) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        found = [child for child in psutil.Process(process.pid).children() if child.name() == "mosquitto"]
        return found[0] if found else None
    return None


async def until_listening(port: int) -> None:
    async def connects() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return True
        return False

    async with asyncio.timeout(PATIENCE_S):
        while not await connects():  # noqa: ASYNC110 - another process's port has no event
            await asyncio.sleep(0.05)


@pytest.mark.broker
async def test_a_device_keeps_its_own_broker_running_and_takes_it_along_when_it_ends(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with agent(config, tmp_path) as process:
        await until_listening(config.broker.local_port or 0)
        options = PromptOptions(layers=0, deadline_s=PATIENCE_S)
        secret = (config.data_dir / LOCAL_SECRET_FILE).read_text().strip()
        access, patient = Access("me", secret), ClientSettings(connect_timeout_s=PATIENCE_S)
        async with MeshClient(
            f"mqtt://{HOST}:{config.broker.local_port}", "test", access=access, settings=patient
        ) as client:
            assert isinstance(await client.ask_to_end("kitchen", "why?", options), Answer)
            first = broker_of(process)
            assert first is not None
            first.send_signal(signal.SIGKILL)
            assert isinstance(await client.ask_to_end("kitchen", "why?", options), Answer)
        second = broker_of(process)
        assert second is not None
        assert second.pid != first.pid
        process.kill()
        await process.wait()
        await until(lambda: not second.is_running(), "the broker's end")


@pytest.mark.broker
async def test_the_own_broker_shows_the_devices_certificate_and_tells_only_members(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    mesh_folder = tmp_path / "other"
    mesh_folder.mkdir()
    async with agent(config, tmp_path):
        await until_listening(config.broker.port)
        url = f"mqtts://{HOST}:{config.broker.port}"
        stranger = SecuredMesh(mesh_folder, "test").device("pantry")
        for certificate, key in ((stranger.certificate, stranger.key), (None, None)):
            ended = await moamesh_beside(
                None,
                *("status", "--once", "--broker", url, "--mesh", "test"),
                *("--ca-file", str(config.broker.ca_file), "--broker-of", config.device.id),
                *(("--cert-file", str(certificate), "--key-file", str(key)) if certificate else ()),
            )
            assert ended.returncode == 2
            (line,) = ended.stderr.strip().splitlines()
            assert "alert" in line, "the broker's reason is told"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cert_file": Path("/nowhere/device.pem"), "key_file": Path("/nowhere/device.key")}, "device.pem"),
        ({"crl_file": Path("/nowhere/crl.pem")}, "crl.pem"),
    ],
)
async def test_a_broker_that_cannot_be_started_is_one_clear_line(
    change: dict[str, Path], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        async with own_broker(config_of(tmp_path, **change)):
            pass
    assert "\n" not in str(raised.value)


async def test_a_shared_broker_needs_nothing_of_this() -> None:
    config = AgentConfig(
        device=DeviceSection(id="kitchen"),
        broker=BrokerSection(urls=("mqtts://a:1", "mqtts://b:2"), aliases=("mqtts://c:3",)),
    )
    assert await find_home(config) == Home("mqtts://a:1,mqtts://b:2", "mqtts://a:1,mqtts://b:2", ("mqtts://c:3",))
    async with own_broker(config) as broker:
        assert broker is None


async def test_a_device_waits_for_its_network_and_starts_over_when_its_address_has_changed_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["", "", "10.0.0.5"]
    monkeypatch.setattr(homes, "_address", lambda: addresses.pop(0) if len(addresses) > 1 else addresses[0])
    monkeypatch.setattr(homes, "ADDRESS_POLL_S", 0.01)
    monkeypatch.setattr(homes, "MOVED_AFTER_S", 0.2)
    config = config_of(tmp_path, address="", port=8883)
    home = await find_home(config)
    assert (home.connect, home.advertised) == (f"mqtts://{HOST}:8883", "mqtts://10.0.0.5:8883")
    addresses[:] = ["10.0.0.9", "", "10.0.0.9", "10.0.0.5"]  # it flaps while a cable is pulled, and is the same again
    moving = asyncio.create_task(until_moved(config, home))
    await until(lambda: addresses == ["10.0.0.5"], "the flaps have passed")
    with pytest.raises(TimeoutError):
        await within(asyncio.shield(moving), 0.5)
    addresses[:] = ["fd00::9"]
    await within(moving, PATIENCE_S)
    assert (await find_home(config)).advertised == "mqtts://[fd00::9]:8883"


async def test_no_network_at_all_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "_address", lambda: "")
    monkeypatch.setattr(homes, "ADDRESS_TIMEOUT_S", 0.05)
    monkeypatch.setattr(homes, "ADDRESS_POLL_S", 0.01)
    with pytest.raises(SettingsError, match="no network address"):
        await find_home(config_of(tmp_path, address=""))
