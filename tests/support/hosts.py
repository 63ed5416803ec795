"""Whole devices inside the test process: real core, runtime, transport, journal and telemetry; a declared engine."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.adapters.journal import SqliteJournal
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.synthetic import SyntheticEngine
from edge_agent.adapters.telemetry import FileTelemetrySink
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.ports import Engine, TelemetrySink
from edge_agent.runtime.host import AgentHost
from edge_agent.service_time import parse_service
from edge_agent.wire import client_ids
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

MESH = "test"
QUICK = AgentSettings(
    gossip_interval_s=0.2,
    status_interval_s=0.5,
    receipt_timeout_s=0.5,
    receipt_timeout_min_s=0.5,
    request_sends_max=int(PATIENCE_S / 0.5),  # asks again at once, and takes no peer for dead that is only slow
    suspect_after_s=PATIENCE_S,
    dead_after_s=2 * PATIENCE_S,
    probe_interval_s=1.0,
)


@dataclass
class Device:
    """A running device, and the task that runs it."""

    name: str
    agent: Agent
    host: AgentHost
    engine: Engine
    transport: MqttTransport
    task: asyncio.Task[None] | None = field(default=None)

    async def stop(self) -> None:
        """Stops it cleanly."""
        if self.task is not None:
            self.host.stop()
            await self.task


def make_device(
    name: str,
    url: str,
    folder: Path,
    *,
    settings: AgentSettings = QUICK,
    service: str = "deterministic:0.01",
    make_transport: Callable[[MqttSettings], MqttTransport] = MqttTransport,
    telemetry: TelemetrySink | None = None,
    mesh: str = MESH,
    install: str | None = None,
) -> Device:
    """Puts a device together; the caller runs it. telemetry: in the place of files in `folder`. install: the secret of
    its installation, which a copy has, too."""
    folder.mkdir(exist_ok=True)
    engine = SyntheticEngine(parse_service(service), seed=int.from_bytes(name.encode()))
    secret = install or client_ids.new_secret()
    identity = DeviceIdentity(
        name,
        model=engine.card.name,
        model_family=engine.card.family,
        synthetic=True,
        install=client_ids.install_tag(secret),
        nonce=secrets.token_hex(4),
    )
    draws = random.Random(name)
    agent = Agent(identity, settings, RandomStreams(random.SystemRandom(), draws, draws))
    transport = make_transport(MqttSettings(name, mesh, url, install=secret, backoff_max_s=0.5))
    host = AgentHost(
        agent,
        engine,
        transport,
        SqliteJournal(folder / f"{name}.journal"),
        telemetry or FileTelemetrySink(folder / f"{name}-telemetry", mesh=mesh, device_id=name, model=engine.card.name),
    )
    return Device(name, agent, host, engine, transport)


@contextlib.asynccontextmanager
async def mesh_of(size: int, url: str, folder: Path, **options: object) -> AsyncIterator[list[Device]]:
    """Devices d0, d1, ... that know each other, stopped in the end."""
    devices = [make_device(f"d{index}", url, folder, **options) for index in range(size)]  # type: ignore[arg-type]  # by name
    try:
        for device in devices:
            device.task = asyncio.create_task(device.host.run(), name=device.name)
        await until(lambda: all(device.agent.is_connected for device in devices), "all are connected")
        await until(lambda: all(len(device.agent.view) == size - 1 for device in devices), "all know each other")
        yield devices
    finally:
        await asyncio.gather(*(device.stop() for device in devices))


def quick(**changes: object) -> AgentSettings:
    """Returns QUICK with changes."""
    return replace(QUICK, **changes)  # type: ignore[arg-type]  # by name
