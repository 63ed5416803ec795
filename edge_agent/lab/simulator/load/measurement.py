"""Measures a load run: latencies, exact time averages of what waits and of busy engines, and how prompts ended."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from edge_agent.core.effects import RecordSession, SendToUser
from edge_agent.core.messages import PromptRefusal
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.load.statistics import Estimate, estimate, half_width, mean, quantile


class Measurement:
    """Attached to a cluster; `begin` ends the warm-up, `stop` the measured time.

    Latencies are of prompts that arrived in between, however late they were answered; time averages are over the time
    in between. Integrals are exact: they are brought up to date at every change.

    work_shares: what a second with 0, 1, ... c items running counts as utilisation, μ(n) / μ(c).
    """

    def __init__(self, cluster: Cluster, work_shares: Sequence[float] = (0.0, 1.0)) -> None:
        self._cluster = cluster
        self._work_shares = work_shares
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
        self._running = [0] * count
        self._running_since = [0.0] * count
        self._work_time = [0.0] * count
        self._begun_at = 0.0
        self._stopped_at: float | None = None
        self._marks: list[tuple[float, float]] = []
        cluster.on_waiting = self._waiting_changed
        cluster.on_running = self._running_changed
        cluster.on_effect(RecordSession, self._session_ended)
        cluster.on_effect(SendToUser, self._told_user)

    def begin(self) -> None:
        """The warm-up is over."""
        now = self._begun_at = self._cluster.now
        self._waiting_area = [0.0] * len(self._waiting_area)
        self._waiting_since = [now] * len(self._waiting_since)
        self._work_time = [0.0] * len(self._work_time)
        self._running_since = [now] * len(self._running_since)
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
        for device, running in enumerate(self._running):
            self._running_changed(device, running, now)
        self._cluster.on_waiting = self._cluster.on_running = None

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
        """Returns the share of what all engines can do that they did: the share of time that they were busy, with one
        slot each."""
        return sum(self._work_time) / self.duration_s / len(self._work_time)

    def utilisation_of(self, device: int) -> float:
        """Returns the share of what one device's engine can do that it did."""
        return self._work_time[device] / self.duration_s

    def _waiting_areas(self, now: float) -> list[float]:
        parts = zip(self._waiting_area, self._waiting, self._waiting_since, strict=True)
        return [area + count * (now - since) for area, count, since in parts]

    def _waiting_changed(self, device: int, waiting: int, now: float) -> None:
        self._waiting_area[device] += self._waiting[device] * (now - self._waiting_since[device])
        self._waiting_since[device] = now
        self._waiting[device] = waiting

    def _running_changed(self, device: int, running: int, now: float) -> None:
        self._work_time[device] += self._work_shares[self._running[device]] * (now - self._running_since[device])
        self._running_since[device] = now
        self._running[device] = running

    def _session_ended(self, device: int, record: RecordSession) -> None:
        self.outcomes[record.outcome] += 1
        arrived_at = self._cluster.now - record.end_to_end_latency_s
        if record.outcome == "answered" and arrived_at >= self._begun_at:
            self.latencies.append(record.end_to_end_latency_s)

    def _told_user(self, device: int, effect: SendToUser) -> None:
        if type(effect.message) is PromptRefusal:
            self.outcomes["refused"] += 1
