"""Something that nobody foresaw is raised inside each long-lived task: it is said, and the task begins anew."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from broker.access import People
from broker.embedded import EmbeddedBroker
from broker.following import FollowingBroker
from edge_agent.adapters import discovery
from edge_agent.adapters.discovery import MdnsDiscovery
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.mqtt.connection import Connection as HomeConnection
from edge_agent.adapters.mqtt.raw import RawInbox
from edge_agent.children import Supervised
from edge_agent.client import MeshClient
from edge_agent.client.connection import Connection
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection
from edge_agent.config.surfaces import GatewaySection
from edge_agent.core.health import Part
from edge_agent.core.messages import PeerEntry, Presence, PresenceState
from edge_agent.core.settings import AgentSettings
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.inquiry import Inquiries
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from edge_agent.management.certificates import CertificateManager
from edge_agent.operator.mesh_service import OwnBrokers, serve_mesh
from edge_agent.runtime import app, gateway_child
from edge_agent.runtime.service_manager import ServiceManager
from edge_agent.wire.topics import Channel
from provisioning.job_service import JobService
from provisioning.service import RegistrarService
from tests.provisioning.home import Home
from tests.support.polling import until
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker

WORDS = "nobody foresaw this"
WILL = Presence(PeerEntry("kitchen", "", "", "", 1, 1, 0, None), PresenceState.OFFLINE, 8, "0")


@contextlib.asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[None]:
    async with EmbeddedBroker(kind="mosquitto", run_dir=folder, web_port=0, people=People):
        yield


@contextlib.asynccontextmanager
async def _secured(folder: Path) -> AsyncIterator[None]:
    (folder / "broker").mkdir()
    async with SecuredMesh(folder).broker(folder / "broker"):
        yield


@contextlib.asynccontextmanager
async def _discovery(folder: Path) -> AsyncIterator[None]:
    async def emit(_event: object) -> None: ...

    it = MdnsDiscovery("kitchen", "home", "mqtts://kitchen.local:8883")
    await it.start(emit)
    yield
    await it.stop()


class _Line:
    """What a steward may do with its device."""

    connected = True

    def peers(self) -> list[tuple[str, str]]:
        return []

    def report(self, detail: str) -> None: ...


@contextlib.asynccontextmanager
async def _certificates(folder: Path) -> AsyncIterator[None]:
    import random

    home = Home(folder)
    manager = CertificateManager(home.joined("kitchen"), home.operator(), spread=True, rng=random.Random(1))
    task = asyncio.create_task(manager.attend(_Line()))  # type: ignore[arg-type]  # as much of a line as is used
    yield
    task.cancel()
    await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _operator(folder: Path) -> AsyncIterator[None]:
    home = Home(folder)
    task = asyncio.create_task(serve_mesh(home.mesh, home.authority, home.mesh.settings.brokers))
    yield
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


@contextlib.asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[None]:
    link = MeshLink(GatewayOptions("mqtt://127.0.0.1:1", "home", folder / "keys.json"))
    await link.start()
    yield
    await link.stop()


@contextlib.asynccontextmanager
async def _client(folder: Path) -> AsyncIterator[None]:
    async with EmbeddedBroker(kind="mosquitto", run_dir=folder) as broker, MeshClient(broker.url, "home"):
        yield


@contextlib.asynccontextmanager
async def _signs(folder: Path) -> AsyncIterator[None]:
    environment = {"NOTIFY_SOCKET": str(folder / "socket"), "WATCHDOG_USEC": "3000000"}
    async with ServiceManager(environment) as manager:
        manager.ready()
        yield


@contextlib.asynccontextmanager
async def _transport(folder: Path) -> AsyncIterator[None]:
    async def take(*_: object) -> None: ...

    async with EmbeddedBroker(kind="mosquitto", run_dir=folder) as broker:
        transport = MqttTransport(MqttSettings("kitchen", "home", broker.url))
        transport.watch([Channel.JOBS], take)
        await transport.start(take, WILL)
        yield
        await until(lambda: transport.connected, "it is connected after all")
        await transport.stop()


Start = Callable[[Path], AbstractAsyncContextManager[None]]

TASKS: dict[str, tuple[type, str, Start]] = {
    "a child that is kept running": (Supervised, "_keep", _embedded),
    "who may come to the embedded broker": (EmbeddedBroker, "follow", _embedded),
    "a broker's files": (FollowingBroker, "_follow", _secured),
    "mDNS: interfaces": (MdnsDiscovery, "_keep_open", _discovery),
    "mDNS: names": (MdnsDiscovery, "_resolve_all", _discovery),
    "mDNS: what was found": (MdnsDiscovery, "_tell_all", _discovery),
    "a certificate's renewal": (CertificateManager, "_renew_in_time", _certificates),
    "revocations handed on": (CertificateManager, "_spread_revocations", _certificates),
    "mesh serve: claims and renewals": (RegistrarService, "run", _operator),
    "mesh serve: jobs": (JobService, "run", _operator),
    "mesh serve: devices' own brokers": (OwnBrokers, "run", _operator),
    "a gateway's connection": (MeshLink, "_keep_connected", _gateway),
    "a client's connection": (Connection, "_run", _client),
    "a device's connection": (HomeConnection, "_run", _transport),
    "a device's management messages": (RawInbox, "_run", _transport),
    "signs of life": (ServiceManager, "_give_signs", _signs),
}


@pytest.mark.parametrize("name", TASKS)
async def test_what_is_raised_in_a_task_is_said_and_the_task_begins_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, method, start = TASKS[name]
    monkeypatch.setattr(discovery, "own_addresses", list)  # nothing is sent anywhere
    begun = 0
    work = getattr(owner, method)

    async def thrown(self: Any, *arguments: Any) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ZeroDivisionError(WORDS)
        await work(self, *arguments)

    monkeypatch.setattr(owner, method, thrown)
    async with start(tmp_path):
        await until(lambda: begun >= 2, "it has begun anew")
        assert WORDS in caplog.text


async def test_a_message_that_meets_a_defect_costs_itself_and_not_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise ZeroDivisionError(WORDS)

    async with EmbeddedBroker(kind="mosquitto", run_dir=tmp_path) as broker:
        transport = MqttTransport(MqttSettings("kitchen", "home", broker.url))
        monkeypatch.setattr(transport, "_take", fails)
        await transport.start(fails_never, WILL)
        await until(lambda: transport.connected, "it is connected")
        async with MeshClient(broker.url, "home") as client:
            for number in (1, 2):
                assert await client.cancel("kitchen", f"p{number}")
                await until(lambda so_far=number: transport.counters.bad == so_far, "it is counted")
        assert transport.counters.connects == 1
        assert WORDS in caplog.text
        await transport.stop()


async def fails_never(_event: object) -> None: ...


@dataclass
class _Agent:
    config: AgentConfig
    url: str


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[_Agent]:
    async with EmbeddedBroker(kind="mosquitto", run_dir=tmp_path) as broker:
        config = AgentConfig(
            device=DeviceSection(id="kitchen", mesh="home", data_dir=tmp_path / "data"),
            broker=BrokerSection(urls=(broker.url,)),
            engine=EngineSection(kind="synthetic", service="deterministic:0.01"),
            agent=AgentSettings(status_interval_s=0.2),
        )
        yield _Agent(config, broker.url)


class _Steward:
    """One that fails in a way nobody foresaw."""

    channels: frozenset[Any] = frozenset()

    async def take(self, channel: object, body: bytes) -> None: ...

    async def attend(self, line: object) -> None:
        raise ZeroDivisionError(WORDS)


@pytest.mark.parametrize("what", ["steward", "watching its address"])
async def test_what_fails_beside_a_device_stands_among_its_problems(
    what: str, agent: _Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ZeroDivisionError(WORDS)

    if what != "steward":
        monkeypatch.setattr(app, "until_moved", fails)
    running = asyncio.create_task(app.run_agent(agent.config, _Steward() if what == "steward" else None))
    async with MeshClient(agent.url, "home") as client:
        await client.start_watching()

        def problem() -> str:
            view = client.roster.get("kitchen")
            found = view.status.problems if view is not None and view.status is not None else ()
            return next((one.detail for one in found if one.part is Part.STEWARD), "")

        await until(lambda: f"{what}: ZeroDivisionError: {WORDS}" in problem() or running.done(), "it is told")
        assert not running.done(), running
    os.kill(os.getpid(), signal.SIGTERM)  # the agent's own handler
    await running


async def test_a_gateway_that_cannot_start_stands_among_the_problems_until_it_can(
    agent: _Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway_child, "RETRY_MIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        section = GatewaySection(enabled=True, port=taken.getsockname()[1], keys_file=tmp_path / "keys.json")
        running = asyncio.create_task(app.run_agent(agent.config.model_copy(update={"gateway": section})))
        async with MeshClient(agent.url, "home") as client:
            await client.start_watching()

            def problem() -> str | None:
                view = client.roster.get("kitchen")
                if view is None or view.status is None:
                    return None
                return next((one.detail for one in view.status.problems if one.part is Part.GATEWAY), "")

            await until(lambda: "cannot listen" in (problem() or "") or running.done(), "it is told")
            taken.close()
            await until(lambda: problem() == "" or running.done(), "it serves")
            assert not running.done(), running
    os.kill(os.getpid(), signal.SIGTERM)  # the agent's own handler
    await running


async def test_a_prompt_of_the_gateway_ends_whatever_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from edge_agent.core.messages import ChatMessage, Prompt, PromptOptions, Role

    class Link:
        open_at: ClassVar[Counter[str]] = Counter()

        async def client(self) -> None: ...

        async def candidates(self, _wanted: str | None) -> tuple[str, ...]:
            return ("kitchen",)

    async def fails(*_: object) -> None:
        raise ZeroDivisionError(WORDS)

    monkeypatch.setattr(Inquiries, "_ask_in_turn", fails)
    options = GatewayOptions("mqtt://127.0.0.1:1", "home", tmp_path / "keys.json")
    inquiries = Inquiries(Link(), options)  # type: ignore[arg-type]  # as much of a link as is used
    prompt = Prompt("p1", (ChatMessage(Role.USER, "why?"),), PromptOptions())
    inquiry = await inquiries.open(prompt, None, keyed=False)
    with pytest.raises(ApiError, match="internal error of the gateway"):
        await inquiry.until_answered()
    assert len(inquiries) == 0
    assert WORDS in caplog.text
