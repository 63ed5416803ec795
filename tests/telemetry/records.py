"""Points as devices record them, with figures of all sizes, for what must come back from a database unchanged."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import fields

from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.messages import DeviceStatus
from edge_agent.core.states import ItemOutcome, ItemRole
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import Record, to_point

STEP_NS = 250_000_000
DEVICES = ("d1", "d2", "d3")


def an_hour_ago_ns() -> int:
    """A whole millisecond: finer times VictoriaMetrics does not keep."""
    return (time.time_ns() // 1_000_000 - 3_600_000) * 1_000_000


def recorded(
    count: int, *, mesh: str = "m", seed: int = 1, begin_ns: int | None = None, model: str = "a model, 1=1"
) -> Iterator[Point]:
    """Yields so many points in the order of time, device after device: all measurements, every kind of figure."""
    draw = random.Random(seed)
    begin_ns = an_hour_ago_ns() if begin_ns is None else begin_ns
    for at in range(count):
        device = DEVICES[at % len(DEVICES)]
        record = draw.choice((_status, _request, _session))(draw, device, model)
        yield to_point(record, mesh=mesh, device_id=device, model=model, time_ns=begin_ns + at * STEP_NS)


def in_order(points: Iterator[Point]) -> list[Point]:
    """By time, then measurement: readers may give them in another order of devices."""
    return sorted(points, key=lambda point: (point.time_ns, point.measurement, sorted(point.tags.items())))


def _figure(draw: random.Random) -> float:
    # whole floats, nothing, a microsecond beside a day: all in one series
    return draw.choice((0.0, 1.0, 1e-6 * draw.random(), draw.random(), 86_400 * draw.random()))


def _status(draw: random.Random, device: str, model: str) -> Record:
    numbers = {
        field.name: draw.randrange(10**7) if field.type == "int" else _figure(draw)
        for field in fields(DeviceStatus)
        if field.type in ("int", "float")
    }
    return DeviceStatus(device_id=device, model=model, synthetic=True, **numbers)  # type: ignore[arg-type]  # by name


def _request(draw: random.Random, device: str, model: str) -> Record:
    role, outcome = draw.choice(list(ItemRole)), draw.choice(list(ItemOutcome))
    times = [_figure(draw) for _ in range(4)]
    return RecordRequest(role, outcome, *times, draw.randrange(4096), draw.randrange(4096))


def _session(draw: random.Random, device: str, model: str) -> Record:
    outcome = draw.choice(("answered", "expired"))
    return RecordSession(outcome, draw.randrange(4), draw.randrange(8), _figure(draw), 9, draw.randrange(10), 0)
