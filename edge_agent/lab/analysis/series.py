"""Points of telemetry sorted by device, as columns of numbers: what the report is computed from."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from edge_agent.core.errors import SettingsError
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import FIELDS

TOTALS = ("accepted", "completed", "rejected", "expired", "cancelled", "failed")
_NS = 1_000_000_000


def _column() -> array[float]:
    return array("d")


@final
@dataclass(slots=True)
class Items:
    """Completed items of a device, in the order of their end. Seconds."""

    ended_s: array[float] = field(default_factory=_column)
    waiting_s: array[float] = field(default_factory=_column)
    service_s: array[float] = field(default_factory=_column)
    sojourn_s: array[float] = field(default_factory=_column)
    proposals_s: array[float] = field(default_factory=_column)
    """Service times of proposals, for this device's own prompts and for others'."""
    aggregations_s: array[float] = field(default_factory=_column)
    """Service times of aggregations, which all carry references (but for M = 0)."""


@final
@dataclass(slots=True)
class Intervals:
    """The `agent_queue` points of a device, one entry for each. An interval ends at its point's time."""

    ends_s: array[float] = field(default_factory=_column)
    length_s: array[float] = field(default_factory=_column)
    waiting: array[float] = field(default_factory=_column)
    """Waiting items at the end of the interval."""
    waiting_mean: array[float] = field(default_factory=_column)
    busy_share: array[float] = field(default_factory=_column)
    prompts: array[float] = field(default_factory=_column)
    """Prompts that users brought in the interval, accepted or not."""


@final
@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A prompt that has ended."""

    ended_s: float
    outcome: str
    plan: tuple[int, int]
    """(M, k)"""
    latency_s: float
    missing: int
    substitutes: int


@final
@dataclass(slots=True)
class DeviceRecords:
    """All that telemetry says of one device."""

    device_id: str
    model: str = ""
    synthetic: bool = False
    """Declared service times: no language model was asked."""
    queue_capacity: int = 0
    intervals: Intervals = field(default_factory=Intervals)
    items: Items = field(default_factory=Items)
    sessions: list[SessionRecord] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    """What the device's counters grew by, over restarts, since the end of its first interval."""
    totals_s: float = 0.0
    """The time in which they did."""
    _last: dict[str, float] = field(default_factory=dict)

    def _take_queue(self, at_s: float, fields: dict[str, float]) -> None:
        length_s, into = fields["interval_s"], self.intervals
        if self._last:
            self.totals_s += length_s
            for name in TOTALS:
                now, before = fields[name], self._last[name]
                self.totals[name] += int(now - before if now >= before else now)  # less: the device has restarted
        self._last = fields
        self.queue_capacity = int(fields["queue_capacity"])
        self.synthetic = bool(fields.get("synthetic", self.synthetic))
        into.ends_s.append(at_s)
        into.length_s.append(length_s)
        into.waiting.append(fields["requests_waiting"])
        into.waiting_mean.append(fields["requests_waiting_mean"])
        into.busy_share.append(fields["utilisation"])
        into.prompts.append(fields["arrival_rate_hz"] * length_s)

    def _take_request(self, at_s: float, role: str, fields: dict[str, float]) -> None:
        items, service_s = self.items, fields["service_time_s"]
        items.ended_s.append(at_s)
        items.waiting_s.append(fields["waiting_time_s"])
        items.service_s.append(service_s)
        items.sojourn_s.append(fields["sojourn_time_s"])
        (items.aggregations_s if role == "aggregator" else items.proposals_s).append(service_s)

    def _take_session(self, at_s: float, outcome: str, fields: dict[str, float]) -> None:
        self.sessions.append(
            SessionRecord(
                at_s,
                outcome,
                (int(fields["layer_count"]), int(fields["fanout"])),
                fields["end_to_end_latency_s"],
                int(fields["responses_expected"] - fields["responses_joined"]),
                int(fields["substitutes"]),
            )
        )


@final
@dataclass(frozen=True, slots=True)
class MeshRecords:
    """All devices of one mesh, in the order of their ids. `from_s` and `until_s` are seconds since 1970."""

    mesh: str
    devices: tuple[DeviceRecords, ...]
    from_s: float
    until_s: float


def collect(points: Iterable[Point], *, since_s: float | None = None) -> MeshRecords:
    """Sorts points by device. Each device's points of a measurement must come in the order of time; all else in any.

    Measurements that say nothing of load, such as `agent_telemetry`, are passed over.

    since_s: only the last so many seconds of what was recorded. An interval that begins before is left out.

    Raises:
        SettingsError: nothing was measured, the points are of several meshes, or one lacks a field. One line.
    """
    points = (point for point in points if point.measurement in FIELDS)
    if since_s is not None:
        kept = list(points)
        begin_ns = max((point.time_ns for point in kept), default=0) - int(since_s * _NS)
        points = (point for point in kept if _begin_ns(point) >= begin_ns)
    devices: dict[str, DeviceRecords] = {}
    meshes: dict[str, None] = {}
    for point in points:
        try:
            _take(devices, point)
        except KeyError as error:
            raise SettingsError(f"a point of {point.measurement} has no {error.args[0]}: other telemetry?") from None
        meshes.setdefault(point.tags.get("mesh", ""))
    ordered = tuple(devices[name] for name in sorted(devices))
    with_intervals = [device.intervals for device in ordered if device.intervals.ends_s]
    if not with_intervals:
        raise SettingsError("no agent_queue measurement in the telemetry: nothing to report yet")
    if len(meshes) > 1:
        raise SettingsError(f"telemetry of several meshes ({', '.join(sorted(meshes))}): choose one with --mesh")
    return MeshRecords(
        next(iter(meshes)),
        ordered,
        from_s=min(one.ends_s[0] - one.length_s[0] for one in with_intervals),
        until_s=max(one.ends_s[-1] for one in with_intervals),
    )


def _take(devices: dict[str, DeviceRecords], point: Point) -> None:
    name = point.tags["device_id"]
    device = devices.get(name)
    if device is None:
        device = devices[name] = DeviceRecords(name)
    fields = dict(point.fields)
    if point.measurement == "agent_queue":
        device.model = point.tags.get("model", device.model)
        device._take_queue(point.time_ns / _NS, fields)
    elif point.measurement == "agent_request":
        if point.tags["outcome"] == "completed":
            device._take_request(point.time_ns / _NS, point.tags["role"], fields)
    elif point.measurement == "agent_session":
        device._take_session(point.time_ns / _NS, point.tags["outcome"], fields)


def _begin_ns(point: Point) -> int:
    if point.measurement != "agent_queue":
        return point.time_ns
    return point.time_ns - int(point.fields.get("interval_s", 0.0) * _NS)
