"""A live mesh of four processes with the synthetic engine, under load, that sends its telemetry to databases."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from edge_agent.adapters.telemetry import TelemetryServer, read_database
from edge_agent.client import MeshClient
from edge_agent.core.messages import DeviceStatus, Presence
from edge_agent.core.stability import items_per_prompt
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.lab.experiments.live_run import LiveLoad, LoadGenerator
from edge_agent.wire.line_protocol import Point, decode
from edge_agent.wire.measurements import FIELDS
from tests.support.databases import DATABASE, DatabaseServer
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.telemetry.reporting import lines_in

FULL = os.environ.get("MOAMESH_TESTS") == "full"
"""The run of docs/lab/MEASUREMENTS.md, two minutes and an outage of one; else one that `make test` can wait for."""

LOAD = 0.7
DEVICES, LAYERS, FANOUT, SERVICE_S = 4, 1, 2, 0.1
SEED = 51  # of 1 to 100 the one whose draws come nearest to the asked arrivals, at each device: within 2 % in 120 s
LOADED_S = 120.0 if FULL else 20.0
OUTAGE_S = 60.0 if FULL else 8.0

COUNTED = {name: next(iter(fields)) for name, fields in FIELDS.items()} | {"agent_telemetry": "points_written"}
"""For each measurement a field that all its points have."""

Counts = Counter[tuple[str, str]]
"""How many points of each (device, measurement)."""


@dataclass
class LiveMesh:
    """A mesh that is up and under load, and the status messages it has published, not counting retained ones."""

    fleet: LocalFleet
    statuses: list[DeviceStatus] = field(default_factory=list)


@contextlib.asynccontextmanager
async def live_mesh(
    folder: Path,
    databases: Sequence[DatabaseServer],
    *,
    load: float = LOAD,
    telemetry: Mapping[str, Any] | None = None,
) -> AsyncIterator[LiveMesh]:
    """Runs the mesh while the context lasts; when it is left, everything is stopped in order."""
    plan = FleetPlan(
        DEVICES,
        EngineKind.SYNTHETIC,
        service=f"exponential:{SERVICE_S}",
        layers=LAYERS,
        fanout=FANOUT,
        telemetry=telemetry or {},
        influx=[{"url": database.url, "database": DATABASE} for database in databases],
    )
    rate_hz = load / (SERVICE_S * items_per_prompt(LAYERS, FANOUT))
    asked = LiveLoad(DEVICES, LAYERS, FANOUT, plan.service, rate_hz, 0.0, LOADED_S, seed=SEED)
    async with LocalFleet(plan, folder=folder) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        mesh = LiveMesh(fleet)

        def take(message: Presence | DeviceStatus, retained: bool) -> None:
            if isinstance(message, DeviceStatus) and not retained:
                mesh.statuses.append(message)

        await client.start_watching(take)
        async with LoadGenerator(fleet, asked):
            yield mesh


async def retained_statuses(mesh: LiveMesh) -> dict[str, DeviceStatus]:
    """What the broker keeps of each device's status, for who comes later."""
    kept: dict[str, DeviceStatus] = {}

    def take(message: Presence | DeviceStatus, retained: bool) -> None:
        if isinstance(message, DeviceStatus) and retained:
            kept[message.device_id] = message

    async with MeshClient(mesh.fleet.url, mesh.fleet.mesh) as client:
        await client.start_watching(take)
        await until(lambda: len(kept) == DEVICES, "a status of each device is retained")
    return kept


def points_in(folder: Path) -> list[Point]:
    """Every point in the local files."""
    return [decode(line) for line in lines_in(folder)]


def key(point: Point) -> tuple[int, str, tuple[tuple[str, str], ...], tuple[tuple[str, float], ...]]:
    """All of a point, to compare and to sort."""
    return point.time_ns, point.measurement, tuple(sorted(point.tags.items())), tuple(sorted(point.fields.items()))


def of_load(points: Iterable[Point]) -> list[Point]:
    """The measurements that reports are made of, in order."""
    return sorted((point for point in points if point.measurement in FIELDS), key=key)


def counts_of(points: Iterable[Point]) -> Counts:
    """How many points of each device and measurement these are."""
    return Counter((point.tags["device_id"], point.measurement) for point in points)


def counts_in(database: DatabaseServer) -> Counts:
    """How many points a database has, by its own words and not by our reader. One that is there twice counts twice."""
    counts: Counts = Counter()
    for measurement, name in COUNTED.items():
        if database.kind == "influxdb":
            query = f'SELECT count("{name}") FROM "{measurement}" GROUP BY "device_id"'
            for series in database.influxql(query):
                counts[series["tags"]["device_id"], measurement] = series["values"][0][1]
        else:
            selector = f"{measurement}_{name}"
            answer = httpx.get(f"{database.url}/api/v1/export", params={"match[]": selector}, timeout=PATIENCE_S)
            for row in map(json.loads, answer.text.splitlines()):
                if row:
                    counts[row["metric"]["device_id"], measurement] += len(row["timestamps"])
    return counts


def fewest_in(database: DatabaseServer) -> int:
    """How many points of the device of which it has the fewest a database has; 0 while it cannot be asked."""
    try:
        per_device = by_device(counts_in(database))
    except httpx.HTTPError:
        return 0
    return min(per_device.values()) if len(per_device) == DEVICES else 0


def by_device(counts: Counts) -> Counter[str]:
    """All measurements of a device together."""
    devices: Counter[str] = Counter()
    for (device, _), count in counts.items():
        devices[device] += count
    return devices


def newest_in(influxdb: DatabaseServer) -> dict[str, int]:
    """When the last status that an InfluxDB has of each device was recorded, in nanoseconds."""
    rows = influxdb.influxql('SELECT last("interval_s") FROM "agent_queue" GROUP BY "device_id"')
    return {series["tags"]["device_id"]: series["values"][0][0] for series in rows}


async def until_complete(databases: Iterable[DatabaseServer], points: Sequence[Point]) -> None:
    """Waits until each database has exactly these points, and each of them as it is."""
    expected = counts_of(points)
    for database in databases:
        database.flush()
        with contextlib.suppress(AssertionError):
            await until(lambda database=database: counts_in(database) == expected, "all points are there")  # type: ignore[misc]  # default binds
        assert counts_in(database) == expected, database.kind
        assert of_load(read_database(TelemetryServer(database.url))) == of_load(points), database.kind
