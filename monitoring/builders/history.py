"""Dashboard "History": months and years, out of the five-minute figures that `moamesh telemetry setup` arranges."""

from __future__ import annotations

from typing import Any

from monitoring.builders.influxql import OF_DEVICE, OF_MESH, over_time
from monitoring.builders.page import Panels, device_variable, mesh_variable, page
from monitoring.builders.panels import LOAD_STEPS, curves

UID = "moamesh-history"
POLICY = "means_5m"  # edge_agent.adapters.telemetry.downsampling makes and names the figures; a test compares
_WHERE = (OF_MESH, OF_DEVICE)
_ANSWERED = (*_WHERE, "\"outcome\" = 'answered'")
_BY = "$tag_device_id"


def history() -> dict[str, Any]:
    """Returns the dashboard."""
    return page(
        UID,
        "moamesh: History",
        "Months and years, from figures of every five minutes. Needs `moamesh telemetry setup`; a figure is up to six "
        "minutes late.",
        (mesh_variable(), device_variable()),
        (("Load", _load()), ("Answers", _answers())),
        since="now-30d",
        refresh="",
    )


def _of(measurement: str) -> str:
    return f'"{POLICY}"."{measurement}"'


def _load() -> Panels:
    return (
        curves(
            "Highest load ρ",
            "The highest offered load of each device. Rising over weeks: plan for more devices, or lower M or k.",
            "percentunit",
            over_time('max("offered_load_max") AS "load"', _of("agent_queue"), _WHERE, by=("device_id",)),
            steps=LOAD_STEPS,
            alias=_BY,
        ),
        curves(
            "Waiting items: measured beside predicted",
            "Means of all devices, beside what theory says (dashed; an approximation for equal devices, "
            "docs/THEORY.md).",
            "short",
            over_time(
                'mean("requests_waiting_mean") AS "measured", mean("requests_waiting_predicted") AS "predicted"',
                _of("agent_queue"),
                _WHERE,
            ),
        ),
        curves(
            "Service time",
            "Mean of each device's inferences. A step: another model, longer prompts, or other work on the host.",
            "s",
            over_time('mean("service_time_s_mean") AS "service"', _of("agent_queue"), _WHERE, by=("device_id",)),
            alias=_BY,
        ),
        curves(
            "Rejected",
            "Prompts refused and requests answered busy, of each device.",
            "short",
            over_time(
                'non_negative_difference(last("rejected")) AS "rejected"', _of("agent_queue"), _WHERE, by=("device_id",)
            ),
            stacked=True,
            alias=_BY,
        ),
    )


def _answers() -> Panels:
    return (
        curves(
            "Latency of answers",
            "The middle and the worst of the five-minute quantiles: p50 is their mean, p95 and p99 their highest.",
            "s",
            over_time(
                'mean("end_to_end_latency_s_p50") AS "p50", max("end_to_end_latency_s_p95") AS "p95", '
                'max("end_to_end_latency_s_p99") AS "p99"',
                _of("agent_session"),
                _ANSWERED,
            ),
        ),
        curves(
            "Prompts, by outcome",
            "How many ended, and how.",
            "short",
            over_time('sum("end_to_end_latency_s_count") AS "prompts"', _of("agent_session"), _WHERE, by=("outcome",)),
            stacked=True,
            alias="$tag_outcome",
        ),
        curves(
            "Wanted responses that came",
            "Of all responses that answers were to be made from. Below 100 %: peers were too few, busy or gone.",
            "percentunit",
            over_time(
                'sum("responses_joined_sum") / sum("responses_expected_sum") AS "share"',
                _of("agent_session"),
                _ANSWERED,
            ),
        ),
        curves(
            "Tokens",
            "Read (prompts and references) and written, of all devices.",
            "short",
            over_time(
                'sum("input_tokens_sum") AS "read", sum("output_tokens_sum") AS "written"', _of("agent_request"), _WHERE
            ),
        ),
    )
