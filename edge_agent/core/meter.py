"""Measures a device's queue: exact time averages, service times, totals, and the load offered to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_agent.core.stability import mean_requests_waiting

_LOAD_WINDOW_S = 60.0  # least time constant of the smoothed load: what people watch need not be quicker
_LOAD_WINDOW_SERVICES = 10.0  # and of a device whose inferences take long: a minute says nothing of a few items
_SERVICE_MEMORY = 16  # how many recent service times shape the mean: follows a change of prompts within a minute
_VARIATION_MEMORY = 100  # a variance needs more values than a mean to be worth its name


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


class ServiceVariation:
    """Running squared variation C² of all service times: their variance over their squared mean."""

    __slots__ = ("_count", "_mean", "_variance")

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._variance = 0.0

    def add(self, service_time_s: float) -> None:
        """Takes one measured service time in seconds. Source: West (1979), with the oldest values fading."""
        count = self._count = min(self._count + 1, _VARIATION_MEMORY)
        step = service_time_s - self._mean
        self._mean += step / count
        self._variance += (step * (service_time_s - self._mean) - self._variance) / count

    def read(self) -> float:
        """Returns C²; 0 before two service times are known."""
        return self._variance / self._mean**2 if self._mean > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class IntervalFigures:
    """The load of a device over an interval. Seconds and hertz.

    `requests_waiting_mean` and `utilisation` (the share of time the engine was busy) are exact over the interval.
    `offered_load` is the work of all items that asked for a place, accepted or not, per second, smoothed over a minute
    or ten mean service times, whichever is longer: unlike the busy share it goes on rising when the queue is full.
    `stability_margin` is the target less this load. `requests_waiting_predicted` is what theory says of it: M/G/1 with
    the measured squared variation, never more than the queue's capacity, which is where an unstable one ends.
    """

    interval_s: float
    requests_waiting_mean: float
    requests_waiting_predicted: float
    arrival_rate_hz: float
    service_time_s_mean: float
    service_time_scv: float
    utilisation: float
    offered_load: float
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
        "_offered_work_s",
        "_prompts",
        "_service_count",
        "_service_sum",
        "_variation",
        "service_times",
        "totals",
    )

    def __init__(self) -> None:
        self.service_times = ServiceTimes()
        self._variation = ServiceVariation()
        self.totals = {"accepted": 0, "completed": 0, "rejected": 0, "expired": 0, "cancelled": 0, "failed": 0}
        self._load = 0.0
        self._load_weight = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._begun_at = self._last_at = now
        self._area_waiting = self._area_running = 0.0
        self._prompts = self._service_count = 0
        self._offered_work_s = self._service_sum = 0.0

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

    def item_offered(self, accepted: bool, work_s: float | None) -> None:
        """An item asked for a place; `work_s` is its expected service time, `None` before any is known."""
        self._offered_work_s += work_s or 0.0
        self.totals["accepted" if accepted else "rejected"] += 1

    def prompt_offered(self) -> None:
        """A user's prompt arrived (accepted or not): this is what λ counts."""
        self._prompts += 1

    def item_served(self, with_references: bool, service_time_s: float) -> None:
        """An inference completed."""
        self.service_times.add(with_references, service_time_s)
        self._variation.add(service_time_s)
        self._service_sum += service_time_s
        self._service_count += 1

    def read(self, now: float, stability_target: float, queue_capacity: int) -> IntervalFigures:
        """Returns the figures of the interval that ends now, and begins the next."""
        interval = now - self._begun_at
        mean = self.service_times.expected(False)
        if self._service_count:
            mean = self._service_sum / self._service_count
        if interval > 0:
            gain = -math.expm1(-interval / max(_LOAD_WINDOW_S, _LOAD_WINDOW_SERVICES * (mean or 0.0)))
            self._load += gain * (self._offered_work_s / interval - self._load)
            self._load_weight += gain * (1.0 - self._load_weight)
        else:
            interval = math.inf  # nothing can be said of no time: every rate is zero
        load = self._load / self._load_weight if self._load_weight else 0.0
        scv = self._variation.read()
        figures = IntervalFigures(
            interval_s=0.0 if math.isinf(interval) else interval,
            requests_waiting_mean=self._area_waiting / interval,
            requests_waiting_predicted=min(mean_requests_waiting(load, scv), float(queue_capacity)),
            arrival_rate_hz=self._prompts / interval,
            service_time_s_mean=mean or 0.0,
            service_time_scv=scv,
            utilisation=self._area_running / interval,
            offered_load=load,
            stability_margin=stability_target - load,
        )
        if figures.interval_s > 0:
            self._begin(now)
        return figures
