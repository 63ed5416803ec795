"""What `moamesh top` shows, without a screen: rows, their order, totals and alerts. Pure: time is an argument.

Devices tell their own figures (`DeviceStatus`); here they are only kept for some minutes and put beside each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from edge_agent.client.roster import DEVICES_MAX, DeviceState, DeviceView
from edge_agent.core.messages import DeviceStatus

HISTORY_SAMPLES_MAX = 300  # for each device: five minutes at a status a second, and wider than most terminals
REJECTING_S = 60.0  # what was refused within a minute is an alert, what was refused yesterday is a number
QUEUE_ALERT_SHARE = 0.8  # of the places; the same share as the alert rule of the dashboards
LOAD_HIGH = 0.9  # queues grow steeply beyond: ρ/(1-ρ) is 9 there


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """What a device told at one moment (seconds on the caller's clock)."""

    at: float
    requests_waiting: int
    utilisation: float
    offered_load: float
    rejected: int


@final
@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device at one moment, with its samples, oldest first."""

    view: DeviceView
    state: DeviceState
    samples: tuple[Sample, ...] = ()

    @property
    def device_id(self) -> str:
        """Its id."""
        return self.view.device_id

    @property
    def status(self) -> DeviceStatus | None:
        """Its newest figures, `None` before the first."""
        return self.view.status

    @property
    def model(self) -> str:
        """Its model; a synthetic engine is called so, whatever its name."""
        if self.view.synthetic and not self.view.model.startswith("synthetic"):
            return f"synthetic:{self.view.model}"
        return self.view.model

    @property
    def present(self) -> bool:
        """Whether its figures may still be true."""
        return self.state in (DeviceState.ONLINE, DeviceState.SILENT)

    def rejected_lately(self, now: float) -> int:
        """How many items it refused within `REJECTING_S`."""
        counts = [sample.rejected for sample in self.samples if now - sample.at <= REJECTING_S]
        return max(0, counts[-1] - counts[0]) if counts else 0  # a device that restarts counts from 0 again


class SortKey(StrEnum):
    """What rows are ordered by; the value is the name of the column."""

    DEVICE = "device"
    STATE = "state"
    WAITING = "waiting"
    LOAD = "load"
    MARGIN = "margin"
    SERVICE = "service"
    SESSIONS = "sessions"
    REJECTED = "rejected"
    FAILED = "failed"
    HEALTH = "health"

    @property
    def next(self) -> SortKey:
        """The one after it, round and round."""
        keys = list(SortKey)
        return keys[(keys.index(self) + 1) % len(keys)]


_STATES = list(DeviceState)
_UPWARDS = {SortKey.DEVICE, SortKey.MARGIN}
"""Ordered upwards: names as in a dictionary, and the smallest margin is the one to look at."""


@final
@dataclass(frozen=True, slots=True)
class Order:
    """How rows are ordered; `flipped` is the other way round than people want at first."""

    key: SortKey = SortKey.DEVICE
    flipped: bool = False

    @property
    def downwards(self) -> bool:
        """Whether the largest comes first."""
        return (self.key not in _UPWARDS) != self.flipped

    def sort(self, rows: Iterable[DeviceRow]) -> list[DeviceRow]:
        """The rows in this order; equal ones by name, those without figures last."""
        known: list[DeviceRow] = []
        unknown: list[DeviceRow] = []
        for row in sorted(rows, key=lambda row: row.device_id):
            (known if row.status is not None or self.key in (SortKey.DEVICE, SortKey.STATE) else unknown).append(row)
        return [*sorted(known, key=self._value, reverse=self.downwards), *unknown]

    def _value(self, row: DeviceRow) -> tuple[float, str]:
        if self.key is SortKey.DEVICE or row.status is None:
            return 0.0, row.device_id
        return _figure(self.key, row, row.status), ""


def _figure(key: SortKey, row: DeviceRow, status: DeviceStatus) -> float:
    match key:
        case SortKey.STATE:
            return float(_STATES.index(row.state))
        case SortKey.HEALTH:
            return float(len(row.view.problems)) + (0.0 if row.view.able else 100.0)
        case SortKey.FAILED:
            return float(status.failed)
        case SortKey.WAITING:
            return float(status.requests_waiting + status.requests_running)
        case SortKey.LOAD:
            return status.offered_load
        case SortKey.MARGIN:
            return status.stability_margin
        case SortKey.SERVICE:
            return status.service_time_s_mean
        case SortKey.SESSIONS:
            return float(status.sessions_active)
        case _:
            return float(status.rejected)


@final
@dataclass(frozen=True, slots=True)
class Totals:
    """The mesh as a whole: sums over the devices that are there, and the mean of their loads."""

    devices: int
    online: int
    requests_waiting_mean: float
    requests_waiting_predicted: float
    load_mean: float
    load_max: float
    arrival_rate_hz: float
    sessions_active: int
    rejected: int
    expired: int
    failed: int
    unable: int
    synthetic: int


@final
@dataclass(frozen=True, slots=True)
class Alert:
    """Something to look at. `severe` where prompts are being lost or refused already."""

    device_id: str
    text: str
    severe: bool


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """The mesh at `now`. `lost_for_s`: how long the broker has been out of reach, `None` while it is not."""

    now: float
    rows: tuple[DeviceRow, ...] = ()
    lost_for_s: float | None = None

    def chosen(self, order: Order, wanted: str) -> list[DeviceRow]:
        """The rows whose device, model or state holds `wanted`, in this order."""
        wanted = wanted.strip().lower()
        rows = [row for row in self.rows if wanted in f"{row.device_id} {row.model} {row.state.value}".lower()]
        return order.sort(rows)

    def totals(self) -> Totals:
        """The mesh as a whole."""
        told = [row.status for row in self.rows if row.present and row.status is not None]
        loads = [status.offered_load for status in told]
        return Totals(
            devices=len(self.rows),
            online=sum(row.state is DeviceState.ONLINE for row in self.rows),
            requests_waiting_mean=sum(status.requests_waiting_mean for status in told),
            requests_waiting_predicted=sum(status.requests_waiting_predicted for status in told),
            load_mean=sum(loads) / len(loads) if loads else 0.0,
            load_max=max(loads, default=0.0),
            arrival_rate_hz=sum(status.arrival_rate_hz for status in told),
            sessions_active=sum(status.sessions_active for status in told),
            rejected=sum(status.rejected for status in told),
            expired=sum(status.expired for status in told),
            failed=sum(status.failed for status in told),
            unable=sum(row.present and not row.view.able for row in self.rows),
            synthetic=sum(status.synthetic for status in told),
        )

    def alerts(self) -> list[Alert]:
        """What needs somebody's eyes, the worst first, then by device."""
        found = [alert for row in self.rows for alert in _alerts(row, self.now)]
        return sorted(found, key=lambda alert: (not alert.severe, alert.device_id))


def _alerts(row: DeviceRow, now: float) -> list[Alert]:
    name = row.device_id
    if row.state is DeviceState.OFFLINE:
        return [Alert(name, "went offline", severe=True)]
    if row.state is DeviceState.SILENT:
        return [Alert(name, "is silent", severe=True)]
    status = row.status
    if not row.present:
        return []
    alerts = [Alert(name, line, severe=not row.view.able) for line in row.view.troubles()]
    if status is None:
        return alerts
    rejected = row.rejected_lately(now)
    taken = status.requests_waiting + status.requests_running
    if rejected:
        alerts.append(Alert(name, f"refused {rejected} in the last minute", severe=True))
    if status.stability_margin < 0.0:
        alerts.append(Alert(name, f"unstable, load {status.offered_load:.2f}", severe=False))
    if taken > QUEUE_ALERT_SHARE * status.queue_capacity:
        alerts.append(Alert(name, f"queue {taken} of {status.queue_capacity}", severe=False))
    return alerts


class History:
    """The figures of every device over the last minutes. Bounded: as many devices as a roster has."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}
        self._lost_at: float | None = None

    def take(self, status: DeviceStatus, now: float) -> None:
        """Notes what a device tells just now; a retained status is none of that."""
        kept = self._samples.get(status.device_id)
        if kept is None:
            if len(self._samples) >= DEVICES_MAX:
                return
            kept = self._samples[status.device_id] = deque(maxlen=HISTORY_SAMPLES_MAX)
        figures = (status.requests_waiting, status.utilisation, status.offered_load, status.rejected)
        kept.append(Sample(now, *figures))

    def snapshot(self, views: Sequence[DeviceView], now: float, *, connected: bool) -> Snapshot:
        """Everything as it is at `now`."""
        self._lost_at = None if connected else now if self._lost_at is None else self._lost_at
        rows = tuple(DeviceRow(view, view.state(now), tuple(self._samples.get(view.device_id, ()))) for view in views)
        return Snapshot(now, rows, None if self._lost_at is None else now - self._lost_at)
