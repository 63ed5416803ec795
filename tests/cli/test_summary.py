"""Figures of a run, worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_agent.cli.prompts.load_record import LoadRecord
from edge_agent.cli.prompts.summary import summarise
from edge_agent.cli.results import AskResult
from edge_agent.client import NoReceiptError
from tests.client.samples import answer, status


def results_of(count: int) -> list[AskResult]:
    ends = [replace(answer(), end_to_end_latency_s=float(number + 1)) for number in range(count)]
    return [AskResult("why?", f"device-{number % 3 + 1}", end, 1.0) for number, end in enumerate(ends)]


def loads_of(*utilisations: float) -> LoadRecord:
    record = LoadRecord()
    for number, utilisation in enumerate(utilisations, start=1):
        record.take(
            replace(status(f"device-{number}"), interval_s=100.0, utilisation=utilisation, requests_waiting_mean=2.0)
        )
    return record


def test_predicted_utilisation_is_the_formula_of_the_paper() -> None:
    summary = summarise(results_of(3), loads_of(0.1, 0.1, 0.1).loads(), 100.0)
    assert (summary.layers, summary.fanout) == (2, 2)
    assert summary.arrival_rate_hz == pytest.approx(3 / 3 / 100)
    assert summary.service_time_s == pytest.approx(1.5)
    assert summary.utilisation_predicted == pytest.approx(1.5 * 7 * 0.01)
    assert summary.utilisation == pytest.approx(0.1)
    assert summary.requests_waiting_mean == pytest.approx(2.0)


def test_latency_tokens_and_messages_are_counted_from_the_answers() -> None:
    summary = summarise(results_of(20), loads_of(0.1, 0.1, 0.1).loads(), 100.0)
    assert summary.latency_mean_s == pytest.approx(10.5)
    assert summary.latency_p95_s == 19.0
    assert summary.tokens_per_s == pytest.approx(20 * (6 * 20 + 40) / 100)
    assert summary.messages_per_prompt == 12.0
    assert summary.messages_predicted == 12


def test_prompts_without_an_answer_are_counted_but_leave_no_trace_in_the_means() -> None:
    lost = AskResult("why?", "device-1", NoReceiptError("gone"), 45.0)
    summary = summarise([*results_of(1), lost], loads_of(0.1).loads(), 10.0)
    assert (summary.prompts, summary.answered) == (2, 1)
    assert summary.outcomes == {"answered": 1, "no_receipt": 1}
    assert summary.latency_mean_s == 1.0


def test_a_run_without_answers_has_no_figures_rather_than_wrong_ones() -> None:
    summary = summarise([AskResult("why?", "device-1", NoReceiptError("gone"), 45.0)], (), 45.0)
    assert summary.latency_mean_s is summary.latency_p95_s is summary.utilisation is None
    assert summary.utilisation_predicted is summary.messages_per_prompt is None


def test_an_overloaded_run_is_still_valid_json() -> None:
    summary = summarise(results_of(30), loads_of(1.0, 1.0, 1.0).loads(), 10.0)
    assert summary.utilisation_predicted is not None
    assert summary.utilisation_predicted > 1
    fields = json.loads(json.dumps(summary.as_object(), allow_nan=False))
    assert fields["requests_waiting_predicted"] is None
