"""How much work this device is asked for and does: measured in one place, read in two ways.

At any moment, on the time scale of its own inferences, for the layer plan (`Load`); and over an interval, in the terms
of theory, for people and databases (`IntervalFigures`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_agent.core.rates import Begun, ServiceRates
from edge_agent.core.served import ServiceTimes, ServiceVariation
from edge_agent.core.stability import Mesh, MeshLaw

SMOOTHING_SERVICES = 10.0
"""Mean service times over which the load is smoothed: more than the items of one prompt, less than a prompt takes under
load. With 20 a burst of ten times the load was met too late and queues of 32 places overflowed (docs/POLICIES.md)."""
_WINDOW_MIN_S = 60.0  # over which figures for people are smoothed at least: what is watched need not be quicker


@dataclass(frozen=True, slots=True)
class Load:
    """This device's load when a prompt comes in, in units of what an item costs it, with all slots busy: its mean
    service time with one slot. The same for fast and slow models.

    offered: items asking this device for a place in such a time, accepted or not, smoothed (`OfferedLoad`); above 1 no
        queue can bear it for long.
    backlog: such times until an item that came now would start.
    elapsed: such times since the prompt before; infinite at the first.
    """

    offered: float = 0.0
    backlog: float = 0.0
    elapsed: float = float("inf")


@dataclass(frozen=True, slots=True)
class IntervalFigures:
    """The load of a device over an interval. Seconds and hertz.

    `requests_waiting_mean` is exact over the interval. `utilisation` is the share of what the engine can do with all
    slots busy that it did: with one slot exactly the share of time it was busy, with more the mean of μ(n) / μ(c).
    `offered_load` is the work of all items that asked for a place, accepted or not, per second, smoothed over a minute
    or ten mean service times, whichever is longer: unlike the busy share it goes on rising when the queue is full.
    `stability_margin` is the target less this load. `requests_waiting_predicted` is what theory says of it, an
    approximation (`core.stability.MeshLaw`) with the measured squared variation and rates, never more than the queue's
    capacity, which is where an unstable one ends.
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


class OfferedLoad:
    """The utilisation it would take to do everything that asks for a place, accepted or not.

    A sum of work, each piece fading with time constant `SMOOTHING_SERVICES` x mean service time, over that constant.
    The scale follows the model: a minute says nothing to a device that takes a minute for one inference, and is an age
    to one that takes a second. Unlike the busy share of time it goes on rising when the queue is full.
    """

    __slots__ = ("_at", "_work_s")

    def __init__(self) -> None:
        self._work_s = 0.0
        self._at = 0.0

    def add(self, now: float, work_s: float | None, service_time_s: float | None) -> None:
        """An item of `work_s` seconds asks for a place. Before any service time is known nothing is counted."""
        if work_s and service_time_s:
            self._fade(now, service_time_s)
            self._work_s += work_s

    def read(self, now: float, service_time_s: float | None) -> float:
        """Returns the load; 0 before a service time is known."""
        if not service_time_s:
            return 0.0
        self._fade(now, service_time_s)
        return self._work_s / (SMOOTHING_SERVICES * service_time_s)

    def _fade(self, now: float, service_time_s: float) -> None:
        if now > self._at:
            self._work_s *= math.exp((self._at - now) / (SMOOTHING_SERVICES * service_time_s))
            self._at = now


class LoadMeter:
    """Counts and integrates over an interval; `read` ends it and begins the next. `at_prompt` may come at any time.

    slots: items that the engine works on at once, c.

    The caller calls `advance(now, ...)` before every change of the number waiting or running.
    """

    __slots__ = (
        *("_area_running", "_area_waiting", "_begun_at", "_last_at", "_load", "_load_weight", "_offered"),
        *("_offered_work_s", "_planned_at", "_prompts", "_service_count", "_service_sum", "_variation"),
        *("_begun", "_capacity_share", "_rates", "service_times", "slots", "totals"),
    )

    def __init__(self, slots: int = 1) -> None:
        self.service_times = ServiceTimes()
        self.slots = slots
        self._rates = ServiceRates(slots) if slots > 1 else None  # with one slot, the mean service time says it all
        self._begun: dict[str, Begun] = {}
        self._capacity_share = [running / slots for running in range(slots + 1)]
        self._variation = ServiceVariation()
        self._offered = OfferedLoad()
        self._planned_at = -math.inf
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
            self._area_running += self._capacity_share[running] * elapsed
            if self._rates is not None:
                self._rates.advance(elapsed, running)
            self._last_at = now

    def work_s(self, with_references: bool) -> float | None:
        """Returns the seconds that an item takes of all that the engine can do: its expected service time with one
        slot, its size over μ(c) with more; `None` before an inference has completed."""
        expected_s = self.service_times.expected(with_references)
        if self._rates is None or expected_s is None:
            return expected_s
        rate_hz, mean_s = self._rates.rate_hz(self.slots), self.service_times.mean_s
        return expected_s / (mean_s * rate_hz) if rate_hz and mean_s else None

    def service_rates_hz(self) -> tuple[float, ...]:
        """Returns μ(1..c), the mean items a second that are completed while 1, ... c run; empty before the first."""
        if self._rates is not None:
            return self._rates.rates_hz()
        return (1.0 / self.service_times.mean_s,) if self.service_times.mean_s else ()

    def item_offered(self, *, accepted: bool, work_s: float | None, now: float) -> None:
        """An item asked for a place; `work_s` is what it will take (`work_s`), `None` before any is known."""
        self._offered.add(now, work_s, self.work_s(True))
        self._offered_work_s += work_s or 0.0
        self.totals["accepted" if accepted else "rejected"] += 1

    def prompt_offered(self) -> None:
        """A user's prompt arrived (accepted or not): this is what λ counts."""
        self._prompts += 1

    def item_started(self, item_id: str) -> None:
        """An inference begins."""
        if self._rates is not None:
            self._begun[item_id] = self._rates.begin()

    def item_served(self, item_id: str, with_references: bool, service_time_s: float) -> None:
        """An inference completed."""
        self.service_times.add(with_references, service_time_s)
        self._variation.add(service_time_s)
        self._service_sum += service_time_s
        self._service_count += 1
        if self._rates is not None and item_id in self._begun:
            mean_s = self.service_times.mean_s
            size = (self.service_times.expected(with_references) or mean_s) / mean_s if mean_s else 1.0
            self._rates.completed(self._begun[item_id], size)
            rates = self._rates.rates_hz()
            self._capacity_share = [0.0, *(min(rate / rates[-1], 1.0) for rate in rates)]

    def item_left(self, item_id: str) -> None:
        """An inference has ended, in whichever way."""
        self._begun.pop(item_id, None)

    def at_prompt(self, now: float, wait_s: float | None) -> Load:
        """Returns the load as a layer plan sees it when a prompt comes in; nothing is known before the first inference.

        wait_s: seconds until an item that came now would start.
        """
        elapsed_s, self._planned_at = now - self._planned_at, now
        work_s = self.work_s(True)
        if not work_s:
            return Load()
        offered = self._offered.read(now, work_s)
        return Load(offered, (wait_s or 0.0) / work_s, elapsed_s / work_s)

    def _waiting(self, load: float, scv: float, plan: tuple[int, int], devices: int) -> float:
        """Items waiting at this load, if all devices were as this one is."""
        layers, fanout = plan
        plain_s, long_s = self.service_times.expected(False), self.service_times.expected(True)
        factor = long_s / plain_s if plain_s and long_s else 1.0
        rates = self.service_rates_hz()
        speed_up = tuple(rate / rates[0] for rate in rates) or (1.0,)
        mesh = Mesh(layers, min(fanout, devices - 1), devices, load, 1.0, factor, speed_up)
        return MeshLaw(mesh.measured(scv)).requests_waiting

    def read(
        self, now: float, stability_target: float, queue_capacity: int, plan: tuple[int, int] = (0, 0), devices: int = 1
    ) -> IntervalFigures:
        """Returns the figures of the interval that ends now, and begins the next.

        plan, devices: the (M, k) of prompts in this mesh and how many devices it has, for the prediction.
        """
        interval = now - self._begun_at
        mean = self.service_times.expected(False)
        if self._service_count:
            mean = self._service_sum / self._service_count
        if interval > 0:
            gain = -math.expm1(-interval / max(_WINDOW_MIN_S, SMOOTHING_SERVICES * (mean or 0.0)))
            self._load += gain * (self._offered_work_s / interval - self._load)
            self._load_weight += gain * (1.0 - self._load_weight)
        else:
            interval = math.inf  # nothing can be said of no time: every rate is zero
        load = self._load / self._load_weight if self._load_weight else 0.0
        scv = self._variation.read()
        figures = IntervalFigures(
            interval_s=0.0 if math.isinf(interval) else interval,
            requests_waiting_mean=self._area_waiting / interval,
            requests_waiting_predicted=min(self._waiting(load, scv, plan, devices), float(queue_capacity)),
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
