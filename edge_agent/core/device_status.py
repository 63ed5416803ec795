"""What a device tells of its queue and load to whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from edge_agent.core.health import Problem


@final
@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The live queue and load figures of a device, to the digit the numbers that telemetry records for the interval.

    What each means is said at `core.load.IntervalFigures`.
    """

    device_id: str
    model: str
    synthetic: bool
    interval_s: float
    requests_waiting: int
    requests_running: int
    requests_waiting_mean: float
    requests_waiting_predicted: float
    queue_capacity: int
    arrival_rate_hz: float
    service_time_s_mean: float
    service_time_scv: float
    utilisation: float
    offered_load: float
    stability_margin: float
    accepted: int
    completed: int
    rejected: int
    expired: int
    cancelled: int
    failed: int
    sessions_active: int
    peers_alive: int
    bad_input: int = 0
    """Messages that were none, since the start."""
    able: bool = True
    """Whether the device can infer."""
    durable: bool = True
    """Whether what it accepts is on disk before its receipt."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with it, at most one for each part."""
    slots: int = 1
    """Items that its engine works on at once, at most."""
    service_rate_hz: float = 0.0
    """Mean items per second that it completes with all slots busy, as measured; 0 before the first."""
    service_rates_hz: tuple[float, ...] = ()
    """The same for 1, 2, ... items running, the last of them for all slots; empty before the first."""
