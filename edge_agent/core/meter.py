"""Measures a device's queue: exact time averages, service times, totals, and the load offered to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LOAD_WINDOW_S = 60.0  # time constant of the smoothed load: long against one inference, short against a day's tides
_SERVICE_MEMORY = 16  # how many recent service times shape the mean: follows a change of prompts within a minute


class ServiceTimes:
    """Running means of service times, apart for items without and with references, which take longer."""

    __slots__ = ("_counts", "_means")

    def __init__(self) -> None:
        self._means = [0.0, 0.0]
        self._counts = [0, 0]

    def add(self, with_references: bool, service_time_s: float) -> None:
        """Takes one measured service time in seconds."""
        count = self._counts[with_references] = min(self._counts[with_references] + 1, _SERVICE_MEMORY)
        self._means[with_references] += (service_time_s - self._means[with_references]) / count

    def expected(self, with_references: bool) -> float | None:
        """Returns the expected service time in seconds; the other kind's if this was never seen, `None` at first."""
        if self._counts[with_references]:
            return self._means[with_references]
        return self._means[not with_references] if self._counts[not with_references] else None


@dataclass(frozen=True, slots=True)
class IntervalFigures:
    """The load of a device over an interval. Seconds and hertz.

    `requests_waiting_mean` and `utilisation` (the share of time the engine was busy) are exact over the interval.
    `stability_margin` is the target less the load offered to this device (items asking for a place per second,
    accepted or not, times their mean service time), smoothed over about a minute: unlike the busy share it goes on
    falling when the queue is full.
    """

    interval_s: float
    requests_waiting_mean: float
    arrival_rate_hz: float
    service_time_s_mean: float
    utilisation: float
    stability_margin: float


class LoadMeter:
    """Counts and integrates over an interval; `read` ends it and begins the next.

    The caller calls `advance(now, ...)` before every change of the number waiting or running.
    """

    __slots__ = (
        "_area_running",
        "_area_waiting",
        "_begun_at",
        "_last_at",
        "_load",
        "_load_weight",
        "_offered_items",
        "_prompts",
        "_service_count",
        "_service_sum",
        "service_times",
        "stability_margin",
        "totals",
    )

    def __init__(self) -> None:
        self.service_times = ServiceTimes()
        self.totals = {"accepted": 0, "completed": 0, "rejected": 0, "expired": 0, "cancelled": 0, "failed": 0}
        self._load = 0.0
        self._load_weight = 0.0
        self.stability_margin = 1.0
        """As last read."""
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._begun_at = self._last_at = now
        self._area_waiting = self._area_running = 0.0
        self._offered_items = self._prompts = self._service_count = 0
        self._service_sum = 0.0

    def start(self, now: float) -> None:
        """Begins the first interval."""
        self._begin(now)

    def advance(self, now: float, waiting: int, running: int) -> None:
        """Integrates up to `now` with the numbers that held until now."""
        elapsed = now - self._last_at
        if elapsed > 0:
            self._area_waiting += waiting * elapsed
            self._area_running += running * elapsed
            self._last_at = now

    def item_offered(self, accepted: bool) -> None:
        """An item asked for a place."""
        self._offered_items += 1
        self.totals["accepted" if accepted else "rejected"] += 1

    def prompt_offered(self) -> None:
        """A user's prompt arrived (accepted or not): this is what λ counts."""
        self._prompts += 1

    def item_served(self, with_references: bool, service_time_s: float) -> None:
        """An inference completed."""
        self.service_times.add(with_references, service_time_s)
        self._service_sum += service_time_s
        self._service_count += 1

    def read(self, now: float, stability_target: float) -> IntervalFigures:
        """Returns the figures of the interval that ends now, and begins the next."""
        interval = now - self._begun_at
        mean = self.service_times.expected(False)
        if self._service_count:
            mean = self._service_sum / self._service_count
        if interval > 0:
            gain = -math.expm1(-interval / _LOAD_WINDOW_S)
            self._load += gain * ((self._offered_items / interval) * (mean or 0.0) - self._load)
            self._load_weight += gain * (1.0 - self._load_weight)
            self.stability_margin = stability_target - self._load / self._load_weight
        else:
            interval = math.inf  # nothing can be said of no time: every rate is zero
        figures = IntervalFigures(
            interval_s=0.0 if math.isinf(interval) else interval,
            requests_waiting_mean=self._area_waiting / interval,
            arrival_rate_hz=self._prompts / interval,
            service_time_s_mean=mean or 0.0,
            utilisation=self._area_running / interval,
            stability_margin=self.stability_margin,
        )
        if figures.interval_s > 0:
            self._begin(now)
        return figures
