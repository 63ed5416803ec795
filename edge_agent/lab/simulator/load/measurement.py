"""Measures a load run: latencies, exact time averages of what waits and of busy engines, and how prompts ended."""

from __future__ import annotations

from array import array
from collections import Counter

from edge_agent.core.effects import RecordSession, SendToUser
from edge_agent.core.messages import PromptRefusal
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.load.statistics import Estimate, estimate, half_width, mean, quantile


class Measurement:
    """Attached to a cluster; `begin` ends the warm-up, `stop` the measured time.

    Latencies are of prompts that arrived in between, however late they were answered; time averages are over the time
    in between. Integrals are exact: they are brought up to date at every change.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        count = len(cluster.names)
        self.latencies = array("d")
        """Of answered prompts, in the order of their end, seconds."""
        self.outcomes: Counter[str] = Counter()
        """Of every prompt of the run, refused ones too."""
        self.series: list[tuple[float, float]] = []
        """(time, waiting items a device) at even steps of arrivals."""
        self._waiting = [0] * count
        self._waiting_since = [0.0] * count
        self._waiting_area = [0.0] * count
        self._busy_since: list[float | None] = [None] * count
        self._busy_time = [0.0] * count
        self._begun_at = 0.0
        self._stopped_at: float | None = None
        self._marks: list[tuple[float, float]] = []
        cluster.on_waiting = self._waiting_changed
        cluster.on_busy = self._busy_changed
        cluster.on_effect(RecordSession, self._session_ended)
        cluster.on_effect(SendToUser, self._told_user)

    def begin(self) -> None:
        """The warm-up is over."""
        now = self._begun_at = self._cluster.now
        self._waiting_area = [0.0] * len(self._waiting_area)
        self._waiting_since = [now] * len(self._waiting_since)
        self._busy_time = [0.0] * len(self._busy_time)
        self._busy_since = [None if since is None else now for since in self._busy_since]
        self._marks = [(now, 0.0)]

    def mark(self) -> None:
        """Ends a batch of the time averages; to be called `BATCHES` times, at the end for the last."""
        self._marks.append((self._cluster.now, sum(self._waiting_areas(self._cluster.now))))

    def sample(self) -> None:
        """Notes a point of the series."""
        self.series.append((self._cluster.now, sum(self._waiting) / len(self._waiting)))

    def stop(self) -> None:
        """The last prompt has arrived: what follows is the mesh running empty."""
        now = self._stopped_at = self._cluster.now
        self._waiting_area = self._waiting_areas(now)
        self._busy_time = [
            total + (0.0 if since is None else now - since)
            for total, since in zip(self._busy_time, self._busy_since, strict=True)
        ]
        self._cluster.on_waiting = self._cluster.on_busy = None

    @property
    def is_over(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped_at is not None

    @property
    def duration_s(self) -> float:
        """How long was measured."""
        return max((self._stopped_at or self._cluster.now) - self._begun_at, 1e-12)

    def latency(self, share: float | None = None) -> Estimate:
        """Returns the mean end-to-end latency in seconds, or its quantile of `share`."""
        return estimate(self.latencies, mean if share is None else lambda values: quantile(values, share))

    def requests_waiting(self) -> Estimate:
        """Returns the time average of waiting items, a device."""
        devices = len(self._waiting)
        batches = [
            (area - area_before) / (at - before) / devices
            for (before, area_before), (at, area) in zip(self._marks, self._marks[1:], strict=False)
            if at > before
        ]
        return Estimate(sum(self._waiting_area) / self.duration_s / devices, half_width(batches))

    def utilisation(self) -> float:
        """Returns the share of time that engines were busy, mean over the devices."""
        return sum(self._busy_time) / self.duration_s / len(self._busy_time)

    def utilisation_of(self, device: int) -> float:
        """Returns the share of time that one device's engine was busy."""
        return self._busy_time[device] / self.duration_s

    def _waiting_areas(self, now: float) -> list[float]:
        parts = zip(self._waiting_area, self._waiting, self._waiting_since, strict=True)
        return [area + count * (now - since) for area, count, since in parts]

    def _waiting_changed(self, device: int, waiting: int, now: float) -> None:
        self._waiting_area[device] += self._waiting[device] * (now - self._waiting_since[device])
        self._waiting_since[device] = now
        self._waiting[device] = waiting

    def _busy_changed(self, device: int, busy: bool, now: float) -> None:
        since = self._busy_since[device]
        if busy:
            self._busy_since[device] = now
        elif since is not None:
            self._busy_time[device] += now - since
            self._busy_since[device] = None

    def _session_ended(self, device: int, record: RecordSession) -> None:
        self.outcomes[record.outcome] += 1
        arrived_at = self._cluster.now - record.end_to_end_latency_s
        if record.outcome == "answered" and arrived_at >= self._begun_at:
            self.latencies.append(record.end_to_end_latency_s)

    def _told_user(self, device: int, effect: SendToUser) -> None:
        if type(effect.message) is PromptRefusal:
            self.outcomes["refused"] += 1
