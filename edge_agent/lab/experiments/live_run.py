"""A live mesh of device processes with the synthetic engine under a Poisson load, measured by its own telemetry."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from edge_agent.adapters.telemetry import read_points
from edge_agent.client import AskTimeoutError, ClientSettings, MeshClient, NoReceiptError
from edge_agent.core.messages import Answer, PromptOptions
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.lab.analysis.series import DeviceRecords, collect
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.line_protocol import Point

STATUS_INTERVAL_S = 0.5
_NS = 1_000_000_000
_SETTINGS = {
    "deadline_s": None,  # above ρ = 1 prompts wait as long as the queue is
    "queue_capacity": 1_000_000,
    "queue_bytes_max": 2**30,
    "principal_share": 1.0,
    "receipt_timeout_s": 20.0,
    "receipt_timeout_min_s": 20.0,  # a machine that is busy is not to be taken for a mesh that lost a device
    "probe_interval_s": 3_600.0,  # and no item of a long queue asked after
    "suspect_after_s": 60.0,
    "dead_after_s": 120.0,
}
_CLIENT = ClientSettings(receipt_timeout_s=30.0, probe_interval_s=3_600.0, answer_timeout_s=3_600.0)


@final
@dataclass(frozen=True, slots=True)
class LiveLoad:
    """What to run: devices with declared service times, and λ prompts a second at each for a time.

    slow_devices, slow_factor: the first so many devices take so many times as long. agent: settings by name.
    """

    devices: int
    layers: int
    fanout: int
    service: str
    arrival_rate_hz: float
    warm_up_s: float
    measured_s: float
    seed: int = 1
    slow_devices: int = 0
    slow_factor: float = 1.0
    agent: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class LiveResult:
    """The telemetry of the measured time, by device, and what the clients saw in all of it."""

    load: LiveLoad
    devices: tuple[DeviceRecords, ...]
    sent: int
    ends: Counter[str]


async def run_live(load: LiveLoad) -> LiveResult:
    """Starts the mesh, loads it, stops it (also when prompts are still under way), and reads its telemetry.

    Raises:
        FleetError: the mesh did not come up, or a device died.
    """
    plan = FleetPlan(
        load.devices,
        EngineKind.SYNTHETIC,
        service=load.service,
        layers=load.layers,
        fanout=load.fanout,
        status_interval_s=STATUS_INTERVAL_S,
        slow_devices=load.slow_devices,
        slow_factor=load.slow_factor,
        agent={**_SETTINGS, **load.agent},
    )
    with tempfile.TemporaryDirectory(prefix="moamesh-live-") as name:
        folder = Path(name)
        async with LocalFleet(plan, folder=folder) as fleet, LoadGenerator(fleet, load) as users:
            await asyncio.sleep(load.warm_up_s)
            begun_ns = time.time_ns()
            await asyncio.sleep(load.measured_s)
            ended_ns = time.time_ns()
        points = await asyncio.to_thread(_points, folder, plan, begun_ns, ended_ns)
        return LiveResult(load, collect(points).devices, users.sent, users.ends)


def _points(folder: Path, plan: FleetPlan, begun_ns: int, ended_ns: int) -> list[Point]:
    every = (point for device in plan.device_ids for point in read_points(folder / device / "telemetry"))
    return [point for point in every if begun_ns <= point.time_ns - _length_ns(point) and point.time_ns <= ended_ns]


def _length_ns(point: Point) -> int:
    return int(point.fields.get("interval_s", 0.0) * _NS)


def time_mean(devices: Sequence[DeviceRecords], column: str) -> float:
    """Returns the mean over devices and time of a column of their intervals; NaN without any."""
    pairs = [
        (value, length)
        for device in devices
        for value, length in zip(getattr(device.intervals, column), device.intervals.length_s, strict=True)
    ]
    seconds = math.fsum(length for _, length in pairs)
    return math.fsum(value * length for value, length in pairs) / seconds if seconds else math.nan


class LoadGenerator:
    """Users who ask whatever is under way (open loop), a Poisson stream for each device, while the context lasts."""

    def __init__(self, fleet: LocalFleet, load: LiveLoad) -> None:
        self._load = load
        self._devices = tuple(fleet.devices)
        self._client = MeshClient(fleet.url, fleet.mesh, settings=_CLIENT)
        self._options = PromptOptions(layers=load.layers, fanout=load.fanout)
        self._tasks = TaskSupervisor("users")
        self.sent = 0
        self.ends: Counter[str] = Counter()

    async def __aenter__(self) -> LoadGenerator:
        await self._client.__aenter__()
        for device in self._devices:
            self._tasks.begin(device, self._stream(device))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.stop()
        await self._client.__aexit__(None, None, None)

    async def _stream(self, device: str) -> None:
        gaps = random.Random(f"{self._load.seed}/{device}")  # noqa: S311 - a workload, no secret
        at = time.monotonic()
        while True:
            at += gaps.expovariate(self._load.arrival_rate_hz)
            await asyncio.sleep(at - time.monotonic())  # absolute: a late prompt must not make the next one late
            self._tasks.begin(f"prompt for {device}", self._ask(device))

    async def _ask(self, device: str) -> None:
        self.sent += 1
        end = "no answer"
        with contextlib.suppress(NoReceiptError, AskTimeoutError):
            said = await self._client.ask_to_end(device, "What is it?", self._options)
            end = said.outcome.value if isinstance(said, Answer) else "refused"
        self.ends[end] += 1
