"""A live run's telemetry in a real InfluxDB, made once for all tests of this folder."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edge_agent.adapters.telemetry.downsampling import DOWNSAMPLED, WINDOW_S, select_into
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.adapters.telemetry.setup import set_up
from edge_agent.adapters.telemetry.setup_plan import SetupPlan
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.lab.experiments.live_run import LiveLoad, LoadGenerator
from tests.support.databases import DATABASE, DatabaseServer, influxdb, running, victoria_metrics
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

__all__ = ["influxdb", "victoria_metrics"]

MESH = "watched"
RUN_S = 14.0  # at least; the sink tells of itself every ten seconds
HISTORY = "history"
# More than the devices can do, and places for a few: so there are rejections and answers made from less than wanted.
_LOAD = LiveLoad(
    devices=3, layers=1, fanout=2, service="exponential:0.1", arrival_rate_hz=3.0, warm_up_s=0.0, measured_s=RUN_S
)
_PLAN = {"queue_capacity": 4, "deadline_s": 5.0}


@dataclass(frozen=True)
class LiveRun:
    """A live run's points as its devices' own sinks sent them, and when it was (seconds since 1970).

    Database `HISTORY` has the same points, once more ten minutes earlier (a rise needs two five-minute windows), and
    the figures made of them.
    """

    database: DatabaseServer
    from_s: float
    to_s: float
    devices: tuple[str, ...]


@pytest.fixture(scope="package")
def live_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    folder = tmp_path_factory.mktemp("monitoring")
    with running(DatabaseServer("influxdb", folder / "influxdb")) as database:
        plan = FleetPlan(
            _LOAD.devices,
            EngineKind.SYNTHETIC,
            service=_LOAD.service,
            mesh=MESH,
            layers=_LOAD.layers,
            fanout=_LOAD.fanout,
            status_interval_s=0.5,
            agent=_PLAN,
            influx=({"url": database.url, "database": DATABASE},),
        )
        from_s = time.time()
        asyncio.run(_run(plan, folder))
        run = LiveRun(database, from_s, time.time(), plan.device_ids)
        _make_history(database, folder)
        yield run


async def _run(plan: FleetPlan, folder: Path) -> None:
    async with LocalFleet(plan, folder=folder) as fleet, LoadGenerator(fleet, _LOAD):
        await asyncio.sleep(RUN_S)
        await until(lambda: _told_of_itself(folder) == set(plan.device_ids), "each sink has told of itself")


def _told_of_itself(folder: Path) -> set[str]:
    lines = [line for path in folder.rglob("*.lp") for line in path.read_text().splitlines()]
    told = [line for line in lines if line.startswith("agent_telemetry,")]
    return {device for line in told for device in re.findall(r"[,]device_id=([^, ]+)", line)}


def _make_history(database: DatabaseServer, folder: Path) -> None:
    database.influxql(f'CREATE DATABASE "{HISTORY}"')
    lines = [line for path in sorted(folder.rglob("*.lp")) for line in path.read_text().splitlines()]
    for earlier_ns in (0, 2 * WINDOW_S * 1_000_000_000):
        write(database, (_moved(line, earlier_ns) for line in lines), HISTORY)
    set_up(TelemetryServer(database.url, HISTORY), SetupPlan())
    for kept in DOWNSAMPLED:
        database.influxql(select_into(kept, HISTORY, "autogen", from_s=0), HISTORY)


def write(database: DatabaseServer, lines: Iterable[str], name: str) -> None:
    """Writes lines of line protocol to one of an InfluxDB's databases."""
    parameters = {"db": name, "precision": "ns"}
    answer = httpx.post(
        f"{database.url}/write", params=parameters, content="\n".join(lines).encode(), timeout=PATIENCE_S
    )
    assert answer.status_code == 204, answer.text


def _moved(line: str, earlier_ns: int) -> str:
    point, _, time_ns = line.rpartition(" ")
    return f"{point} {int(time_ns) - earlier_ns}"
