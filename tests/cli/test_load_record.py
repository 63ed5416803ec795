"""Averages of a run from the statuses of its devices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.cli.prompts.load_record import LoadRecord
from tests.client.samples import presence, status


def test_intervals_count_with_their_length() -> None:
    record = LoadRecord()
    record.take(replace(status(), interval_s=1.0, requests_waiting_mean=4.0, utilisation=1.0))
    record.take(replace(status(), interval_s=3.0, requests_waiting_mean=0.0, utilisation=0.2))
    (load,) = record.loads()
    assert load.requests_waiting_mean(4.0) == pytest.approx(1.0)
    assert load.utilisation(4.0) == pytest.approx(0.4)


def test_idle_time_around_the_run_does_not_thin_it_out() -> None:
    record = LoadRecord()
    for busy in (0.5, 1.0, 0.5):  # the run began and ended in the middle of an interval
        record.take(replace(status(), interval_s=1.0, utilisation=busy))
    assert record.loads()[0].utilisation(2.0) == pytest.approx(1.0)


def test_a_device_seen_for_a_part_of_the_run_is_averaged_over_that_part() -> None:
    record = LoadRecord()
    record.take(replace(status(), interval_s=1.0, utilisation=0.8))
    assert record.loads()[0].utilisation(10.0) == pytest.approx(0.8)


def test_presence_and_retained_statuses_are_not_of_the_run() -> None:
    record = LoadRecord()
    record.watch(presence(), False)
    record.watch(status(), True)
    assert record.loads() == ()
    record.watch(status(), False)
    assert [load.device_id for load in record.loads()] == ["device-1"]
