"""Time averages against trajectories worked out by hand."""

from __future__ import annotations

import math

import pytest

from edge_agent.core.load import _WINDOW_MIN_S, LoadMeter
from edge_agent.core.served import ServiceTimes


def test_means_over_time_are_exact() -> None:
    """Waiting: 0 for 2 s, 3 for 1 s, 1 for 5 s, 0 for 2 s. Running: 0 for 2 s, 1 for 6 s, 0 for 2 s."""
    meter = LoadMeter()
    meter.start(100.0)
    meter.advance(102.0, 0, 0)
    meter.advance(103.0, 3, 1)
    meter.advance(108.0, 1, 1)
    meter.advance(110.0, 0, 0)
    figures = meter.read(110.0, 1.0, 32)
    assert figures.interval_s == 10.0
    assert figures.requests_waiting_mean == pytest.approx((3 * 1 + 1 * 5) / 10)
    assert figures.utilisation == pytest.approx(0.6)


def test_an_interval_begins_where_the_one_before_ended() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    meter.prompt_offered()
    meter.advance(4.0, 2, 1)
    meter.read(4.0, 1.0, 32)
    meter.advance(5.0, 1, 0)
    figures = meter.read(6.0, 1.0, 32)
    assert (figures.interval_s, figures.arrival_rate_hz) == (2.0, 0.0)
    assert figures.requests_waiting_mean == pytest.approx(0.5), "the last second was not advanced, so it counts nothing"
    assert figures.utilisation == 0.0


def test_many_small_steps_say_the_same_as_one_large_one() -> None:
    fine, coarse = LoadMeter(), LoadMeter()
    for meter in (fine, coarse):
        meter.start(0.0)
    for step in range(1, 1_001):
        fine.advance(step / 100, 7, 1)
    coarse.advance(10.0, 7, 1)
    assert fine.read(10.0, 1.0, 32).requests_waiting_mean == pytest.approx(
        coarse.read(10.0, 1.0, 32).requests_waiting_mean
    )


def test_time_that_stands_still_or_goes_back_adds_nothing() -> None:
    meter = LoadMeter()
    meter.start(10.0)
    meter.advance(10.0, 5, 1)
    meter.advance(9.0, 5, 1)
    figures = meter.read(10.0, 1.0, 32)
    assert (figures.interval_s, figures.requests_waiting_mean, figures.utilisation) == (0.0, 0.0, 0.0)


def test_lambda_counts_prompts_offered_not_items() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    for _ in range(5):
        meter.prompt_offered()
    for _ in range(9):
        meter.item_offered(accepted=True, work_s=1.0, now=0.0)
    assert meter.read(10.0, 1.0, 32).arrival_rate_hz == 0.5
    assert meter.totals["accepted"] == 9


def offer(meter: LoadMeter, items: int, served: int, service_s: float) -> None:
    """`items` ask for a place, `served` of them are done, in one interval."""
    for number in range(items):
        meter.item_offered(accepted=number < served, work_s=service_s, now=0.0)
    for _ in range(served):
        meter.item_served("item", with_references=False, service_time_s=service_s)


def test_the_margin_is_the_target_less_the_load_offered() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    for interval in range(1, 101):  # 3 items of 1 s each in 10 s
        offer(meter, 3, 3, 1.0)
        figures = meter.read(10.0 * interval, 0.9, 32)
    assert figures.stability_margin == pytest.approx(0.9 - 0.3)
    assert figures.offered_load == pytest.approx(0.3)


def test_the_margin_goes_on_falling_below_zero_while_a_full_queue_turns_work_away() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    margins = []
    for interval in range(1, 61):  # 40 items of 1 s ask for a place in 10 s: load 4; the engine does 10 of them
        offer(meter, 40, 10, 1.0)
        meter.advance(10.0 * interval, 5, 1)
        figures = meter.read(10.0 * interval, 1.0, 32)
        margins.append(figures.stability_margin)
        assert figures.utilisation == pytest.approx(1.0)
    assert margins[-1] == pytest.approx(-3.0)
    assert meter.totals == {
        "accepted": 600,
        "completed": 0,
        "rejected": 1800,
        "expired": 0,
        "cancelled": 0,
        "failed": 0,
    }


def test_after_a_change_of_load_the_margin_follows_with_its_time_constant() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    for second in range(1, 2_001):
        offer(meter, 1, 1, 0.5)
        meter.read(float(second), 1.0, 32)
    for second in range(2_001, 2_001 + int(_WINDOW_MIN_S)):  # nothing comes any more
        figures = meter.read(float(second), 1.0, 32)
    assert figures.stability_margin == pytest.approx(1.0 - 0.5 / math.e, abs=1e-6)


def test_reading_twice_at_the_same_moment_changes_no_margin() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    offer(meter, 8, 8, 1.0)
    first = meter.read(10.0, 1.0, 32)
    again = meter.read(10.0, 1.0, 32)
    assert again.stability_margin == first.stability_margin == pytest.approx(0.2)


def test_service_means_are_kept_apart_by_kind_and_stand_in_for_each_other() -> None:
    times = ServiceTimes()
    assert times.expected(False) is None
    times.add(True, 4.0)
    assert (times.expected(False), times.expected(True)) == (4.0, 4.0)
    times.add(False, 1.0)
    times.add(False, 3.0)
    assert (times.expected(False), times.expected(True)) == (2.0, 4.0)


def test_the_service_mean_forgets_what_is_long_past() -> None:
    times = ServiceTimes()
    for _ in range(100):
        times.add(False, 1.0)
    for _ in range(100):
        times.add(False, 5.0)
    assert times.expected(False) == pytest.approx(5.0, abs=0.01)


def test_the_mean_service_time_of_an_interval_is_of_that_interval_or_what_was_known_before() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    meter.item_served("item", False, 2.0)
    meter.item_served("item", True, 6.0)
    assert meter.read(10.0, 1.0, 32).service_time_s_mean == 4.0
    assert meter.read(20.0, 1.0, 32).service_time_s_mean == 2.0


def test_the_queue_predicted_is_that_of_theory_for_the_load_and_variation_measured() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    for interval in range(1, 201):  # 6 items of 0.5 s and 1.5 s in turn ask for a place in 10 s: load 0.6, C² = 0.25
        for number in range(6):
            meter.item_offered(accepted=True, work_s=1.0, now=0.0)
            meter.item_served("item", False, 0.5 + number % 2)
        figures = meter.read(10.0 * interval, 1.0, 32)
    assert figures.service_time_scv == pytest.approx(0.25, rel=0.02)
    assert figures.requests_waiting_predicted == pytest.approx(0.6**2 * 1.25 / (2 * 0.4), rel=0.02)


def test_the_queue_predicted_of_an_unstable_device_is_a_full_one() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    offer(meter, 40, 10, 1.0)
    figures = meter.read(10.0, 1.0, 32)
    assert figures.offered_load == 4.0
    assert figures.requests_waiting_predicted == 32.0


def test_a_slow_device_is_smoothed_over_several_of_its_items() -> None:
    meter = LoadMeter()
    meter.start(0.0)
    for interval in range(1, 1_001):  # one item of 47 s in every 100 s
        offer(meter, interval % 20 == 0, interval % 20 == 0, 47.0)
        figures = meter.read(5.0 * interval, 1.0, 32)
        if interval > 500:
            assert figures.offered_load == pytest.approx(0.47, abs=0.1)
