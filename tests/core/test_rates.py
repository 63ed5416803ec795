"""Service rates measured with several items at once, against systems whose rates are known."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest

from edge_agent.core.load import IntervalFigures, LoadMeter
from edge_agent.core.rates import ServiceRates
from edge_agent.service_time import parse_service
from edge_agent.speed_up import parse_speed_up

CURVE = parse_speed_up("amdahl:0.4")


class Device:
    """One on its own: Poisson arrivals, first come first served, slots that share the engine by a declared curve."""

    def __init__(self, slots: int, spec: str, load: float) -> None:
        self.service = parse_service(spec)
        self.meter = LoadMeter(slots)
        self.slots = slots
        self.load = load
        self.rng = random.Random(f"{spec} {load} {slots}")
        self.now = 0.0
        self.full_hz = CURVE.factor(slots) / self.service.mean_s

    def serve(self, count: int, after: Callable[[], None]) -> None:
        """Serves so many items; `after` is called when each is done."""
        rate_hz, clock = self.load * self.full_hz, 0.0  # the clock that all running share
        arrives = self.rng.expovariate(rate_hz)
        waiting: list[tuple[str, float]] = []
        running: list[tuple[float, str, float]] = []  # (clock at the end, id, start)
        came = done = 0
        while done < count:
            share = CURVE.share(len(running)) if running else 0.0
            ends = self.now + (running[0][0] - clock) / share if running else math.inf
            at = min(arrives, ends)
            clock += (at - self.now) * share
            self.now = at
            self.meter.advance(at, len(waiting), len(running))
            if ends <= arrives:
                _, name, started = heapq.heappop(running)
                self.meter.item_served(name, False, at - started)
                self.meter.item_left(name)
                done += 1
                after()
            else:
                came += 1
                waiting.append((str(came), self.service.draw(self.rng)))
                self.meter.item_offered(accepted=True, work_s=self.meter.work_s(False), now=at)
                arrives = at + self.rng.expovariate(rate_hz)
            while waiting and len(running) < self.slots:
                name, seconds = waiting.pop(0)
                self.meter.item_started(name)
                heapq.heappush(running, (clock + seconds, name, self.now))


@pytest.mark.parametrize("spec", ["exponential:2", "deterministic:2", "gamma:4,2"])
@pytest.mark.parametrize("load", [0.5, 0.9, 2.0])
def test_the_rate_of_a_full_engine_is_found_for_any_service_time(spec: str, load: float) -> None:
    device, found = Device(4, spec, load), list[float]()
    device.serve(3_000, lambda: found.append(device.meter.service_rates_hz()[-1]))
    late = found[200:]
    assert sum(late) / len(late) == pytest.approx(device.full_hz, rel=0.08)


@pytest.mark.parametrize("spec", ["exponential:2", "deterministic:2"])
def test_each_level_of_the_curve_is_found(spec: str) -> None:
    device, found = Device(4, spec, 0.5), list[tuple[float, ...]]()
    device.serve(4_000, lambda: found.append(device.meter.service_rates_hz()))
    late = found[300:]
    means = [sum(rates[level] for rates in late) / len(late) for level in range(4)]
    assert means == pytest.approx([CURVE.factor(n) / 2.0 for n in range(1, 5)], rel=0.12)


def test_utilisation_and_offered_load_are_shares_of_what_all_slots_can_do() -> None:
    device, figures, next_read = Device(4, "exponential:2", 0.7), list[IntervalFigures](), 200.0

    def after() -> None:
        nonlocal next_read
        if device.now >= next_read:
            next_read += 200.0
            figures.append(device.meter.read(device.now, 1.0, 1_000))

    device.serve(6_000, after)
    late = figures[len(figures) // 4 :]
    assert sum(one.utilisation for one in late) / len(late) == pytest.approx(0.7, rel=0.08)
    assert sum(one.offered_load for one in late) / len(late) == pytest.approx(0.7, rel=0.1)


def test_what_was_never_seen_follows_from_what_was() -> None:
    rates = ServiceRates(8)
    assert rates.rate_hz(1) is None
    assert rates.rates_hz() == ()
    for _ in range(50):
        begun = rates.begin()
        rates.advance(2.0, 1)
        rates.completed(begun, 1.0)
    assert rates.rate_hz(8) == pytest.approx(rates.rate_hz(1)), "no gain is assumed that nobody has seen"
    for _ in range(100):
        begun = rates.begin()
        rates.advance(2.0 / CURVE.share(4), 4)
        rates.completed(begun, 1.0)
    assert rates.rate_hz(8) == pytest.approx(CURVE.factor(8) / 2.0, rel=0.05), "by the line through both"
    assert rates.rate_hz(2) == pytest.approx(CURVE.factor(2) / 2.0, rel=0.05)
    assert rates.error(4) < rates.error(8)


def test_items_that_end_in_one_moment_count_for_the_level_that_they_ran_at() -> None:
    meter, now = LoadMeter(4), 0.0
    for _ in range(50):
        for name in "abcd":
            meter.item_started(name)
        now += 8.0
        meter.advance(now, 0, 4)
        for left, name in enumerate("abcd"):
            meter.advance(now, 0, 4 - left)
            meter.item_served(name, False, 8.0)
            meter.item_left(name)
    assert meter.service_rates_hz()[-1] == pytest.approx(4 / 8.0)


def test_items_with_references_count_by_their_size() -> None:
    meter, now = LoadMeter(2), 0.0
    meter.item_started("0")
    for number in range(400):  # one of each kind at once; those with references are three times as large
        meter.item_started(str(number + 1))
        now += 1.0
        meter.advance(now, 1, 2)
        references = number % 2 == 0
        meter.item_served(str(number), references, 3.0 if references else 1.0)
        meter.item_left(str(number))
    work = [meter.work_s(True), meter.work_s(False)]
    assert work == pytest.approx([1.5, 0.5], rel=0.15), "together two seconds, since one leaves each second"


def test_one_slot_is_measured_as_ever() -> None:
    meter = LoadMeter(1)
    for number in range(20):
        meter.item_started("a")
        meter.advance(float(number + 1), 0, 1)
        meter.item_served("a", False, 1.0)
        meter.item_left("a")
    assert meter.work_s(False) == 1.0
    assert meter.service_rates_hz() == (1.0,)
    assert meter.read(20.0, 1.0, 32).utilisation == 1.0
