"""Records to measure, a sink in a hurry, and what its files hold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.adapters.telemetry import FileTelemetrySink, TelemetryServer, read_database
from edge_agent.adapters.telemetry.pace import Pace
from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import DeviceStatus
from edge_agent.core.states import ItemOutcome, ItemRole
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from tests.support.databases import DatabaseServer

HURRIED = Pace(gather_s=0.005, retry_first_s=0.02, retry_max_s=0.1, settings_retry_s=0.1, retry_after_max_s=5.0)
STATUS = DeviceStatus(
    device_id="dev-1",
    model="smollm2 135m, q8=0",
    synthetic=False,
    interval_s=5.0,
    requests_waiting=3,
    requests_running=1,
    requests_waiting_mean=2.0,
    requests_waiting_predicted=0.25,
    queue_capacity=32,
    arrival_rate_hz=0.25,
    service_time_s_mean=1.5,
    service_time_scv=1.0,
    utilisation=0.375,
    offered_load=0.375,
    stability_margin=0.625,
    accepted=10,
    completed=7,
    rejected=1,
    expired=0,
    cancelled=2,
    failed=0,
    sessions_active=2,
    peers_alive=3,
)
REQUEST = RecordRequest(ItemRole.PROPOSER, ItemOutcome.COMPLETED, 0.5, 1.0, 1.5, 0.125, 40, 50)
SESSION = RecordSession("answered", 2, 2, 12.0, 6, 5, 1)


def new_sink(folder: Path, **options: Any) -> FileTelemetrySink:
    settings = {"mesh": "home", "device_id": "dev-1", "model": "smollm2", "pace": HURRIED} | options
    return FileTelemetrySink(folder, **settings)


async def until(condition, bound_s: float = PATIENCE_S) -> None:
    for _ in range(int(bound_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {bound_s} s")


def times_in(database: DatabaseServer) -> set[int]:
    """The times of all sessions, to the millisecond."""
    database.flush()
    try:
        points = list(read_database(TelemetryServer(database.url)))
    except MoameshError:
        return set()
    return {point.time_ns for point in points if point.measurement == "agent_session"}
