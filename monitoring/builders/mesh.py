"""Dashboard "Mesh": is the mesh stable, and what do its users get."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from monitoring.builders.influxql import (
    OF_DEVICE,
    OF_MESH,
    PER_MINUTE,
    InfluxQl,
    increase,
    of_devices,
    over_range,
    over_time,
)
from monitoring.builders.page import Panels, device_variable, mesh_variable, page
from monitoring.builders.panels import ANY_IS_BAD, LOAD_STEPS, MARGIN_STEPS, THIRD, Steps, curves, number, rows

UID = "moamesh-mesh"
LOAD_TITLE, WAITING_TITLE, TABLE_TITLE = "Offered load ρ", "Waiting items: measured beside predicted", "Devices"
_SESSION = "agent_session"
_BY = "$tag_device_id"
_WHERE = (OF_MESH, OF_DEVICE)
_ANSWERED = (*_WHERE, "\"outcome\" = 'answered'")
_DEGRADED = (*_ANSWERED, '"responses_joined" < "responses_expected"')
_QUANTILES = ", ".join(f'percentile("end_to_end_latency_s", {of}) AS "p{of}"' for of in (50, 95, 99))
_PROMPTS = f'count("end_to_end_latency_s") {PER_MINUTE} AS "prompts"'
_SHARE_STEPS: Steps = ((None, "red"), (0.9, "yellow"), (0.99, "green"))


def mesh() -> dict[str, Any]:
    """Returns the dashboard."""
    return page(
        UID,
        "moamesh: Mesh",
        "Is the mesh stable, and what do its users get? Start here.",
        (mesh_variable(), device_variable()),
        (
            ("Now", _numbers()),
            ("Stability", _stability()),
            ("What users get", _answers()),
            ("What the mesh does", _work()),
            ("Devices", (_devices(),)),
        ),
    )


def _numbers() -> Panels:
    return (
        number(
            "Devices reporting",
            "Devices with figures in the time shown. Fewer than you run: see the alert on silent devices.",
            "short",
            of_devices('count("value") AS "devices"', "offered_load", _WHERE),
        ),
        number(
            "Highest load ρ",
            "The most loaded device's offered load. At 100 % its queue grows without bound: lower M or k, add devices, "
            "or send less.",
            "percentunit",
            of_devices('max("value") AS "load"', "offered_load", _WHERE),
            steps=LOAD_STEPS,
        ),
        number(
            "Lowest stability margin",
            "What the most loaded device's load leaves below the target. Negative: not stable.",
            "percentunit",
            of_devices('min("value") AS "margin"', "stability_margin", _WHERE),
            steps=MARGIN_STEPS,
        ),
        number(
            "Wanted responses that came",
            "Of all responses that answers were to be made from, the share that came. Below 100 %: peers are too few, "
            "too busy or out of reach, and answers are made from less.",
            "percentunit",
            over_range('sum("responses_joined") / sum("responses_expected") AS "share"', _SESSION, _ANSWERED),
            steps=_SHARE_STEPS,
        ),
        number(
            "Rejected",
            "Prompts refused and requests answered busy in the time shown: too much load, or too few places.",
            "short",
            increase("rejected", "agent_queue", _WHERE),
            steps=ANY_IS_BAD,
        ),
        number(
            "Synthetic devices",
            "Devices whose engine only pretends (declared service times, no language model). In real use this is 0.",
            "short",
            of_devices('sum("value") AS "synthetic"', "synthetic", _WHERE),
            steps=ANY_IS_BAD,
        ),
    )


def _stability() -> Panels:
    return (
        curves(
            LOAD_TITLE,
            "Work offered to each device, in seconds of inference a second, smoothed over a minute or ten inferences. "
            "Above the red line (100 %) the queue grows as long as it lasts. One device alone: it gets more prompts or "
            "is slower.",
            "percentunit",
            over_time('mean("offered_load") AS "load"', "agent_queue", _WHERE, by=("device_id",)),
            steps=LOAD_STEPS,
            alias=_BY,
        ),
        curves(
            "Stability margin",
            "The target less the load. Below zero for minutes: lower M or k, or let the adaptive layer plan do it.",
            "percentunit",
            over_time('mean("stability_margin") AS "margin"', "agent_queue", _WHERE, by=("device_id",)),
            steps=((None, "red"), (0.0, "transparent")),
            alias=_BY,
        ),
        curves(
            WAITING_TITLE,
            "Waiting items (exact means of each interval) beside what theory says of the measured load and variation "
            "(dashed; an approximation for equal devices, docs/THEORY.md). Measured far above predicted: prompts come "
            "in bursts, or the device does other work as well.",
            "short",
            over_time(
                'mean("requests_waiting_mean") AS "measured", mean("requests_waiting_predicted") AS "predicted"',
                "agent_queue",
                _WHERE,
                by=("device_id",),
            ),
            alias=f"{_BY} $col",
        ),
        curves(
            "Rejections a minute",
            "Prompts refused and requests answered busy. With ρ below 100 % as well: queue_capacity is too small for "
            "your bursts.",
            "cpm",
            _rate("rejected", _WHERE),
            stacked=True,
            alias=_BY,
        ),
    )


def _answers() -> Panels:
    return (
        curves(
            "Latency of answers",
            "From a prompt's arrival to its answer, all layers: half, 95 % and 99 % of answers were quicker.",
            "s",
            over_time(_QUANTILES, _SESSION, _ANSWERED),
            width=THIRD,
        ),
        curves(
            "Prompts ended a minute, by outcome",
            "Answered, expired (the deadline came first), cancelled (by the user) or failed (the engine). Expired "
            "prompts: too much load or too short deadlines. Failed ones: see the device's log.",
            "cpm",
            over_time(_PROMPTS, _SESSION, _WHERE, by=("outcome",)),
            stacked=True,
            width=THIRD,
            alias="$tag_outcome",
        ),
        curves(
            "Degraded answers a minute",
            "Answers made from fewer responses than wanted, beside all answers. Peers are too few, busy or gone.",
            "cpm",
            over_time(f'count("responses_joined") {PER_MINUTE} AS "degraded"', _SESSION, _DEGRADED),
            InfluxQl(
                over_time(f'count("responses_joined") {PER_MINUTE} AS "all answers"', _SESSION, _ANSWERED),
                ref_id="B",
                alias="$col",
            ),
            width=THIRD,
        ),
    )


def _work() -> Panels:
    return (
        curves(
            "M and k in force",
            "Mean layers (M) and peers asked in each (k) of the prompts that ended. They fall when the adaptive layer "
            "plan saves a mesh that is too loaded.",
            "none",
            over_time('mean("layer_count") AS "M (layers)", mean("fanout") AS "k (fanout)"', _SESSION, _WHERE),
            width=THIRD,
        ),
        curves(
            "Inferences completed a minute",
            "Each device's throughput. A device at its limit shows a flat top here and a growing queue above.",
            "cpm",
            _rate("completed", _WHERE),
            stacked=True,
            width=THIRD,
            alias=_BY,
        ),
        curves(
            "Responses missing and substitutes asked",
            "Responses wanted that never came, and peers asked in another's place, of the prompts that ended.",
            "short",
            over_time(
                'sum("responses_expected") - sum("responses_joined") AS "missing", sum("substitutes") AS "substitutes"',
                _SESSION,
                _WHERE,
            ),
            width=THIRD,
        ),
    )


def _rate(total: str, where: tuple[str, ...]) -> str:
    rise = f'non_negative_difference(last("{total}")) {PER_MINUTE} AS "{total}"'
    return over_time(rise, "agent_queue", where, by=("device_id",))


def _devices() -> Builder[Panel]:
    columns = (
        ("device_id", "", None),
        ("model", "", None),
        ("synthetic", "", None),
        ("load ρ", "percentunit", LOAD_STEPS),
        ("margin", "percentunit", MARGIN_STEPS),
        ("waiting, measured", "short", None),
        ("waiting, predicted", "short", None),
        ("places", "short", None),
        ("inference", "s", None),
        ("peers alive", "short", None),
        ("sessions", "short", None),
    )
    fields = (
        ("synthetic", "synthetic"),
        ("offered_load", "load ρ"),
        ("stability_margin", "margin"),
        ("requests_waiting_mean", "waiting, measured"),
        ("requests_waiting_predicted", "waiting, predicted"),
        ("queue_capacity", "places"),
        ("service_time_s_mean", "inference"),
        ("peers_alive", "peers alive"),
        ("sessions_active", "sessions"),
    )
    selected = ", ".join(f'last("{field}") AS "{name}"' for field, name in fields)
    query = over_range(selected, "agent_queue", _WHERE, by=("device_id", "model"))
    return rows(
        TABLE_TITLE,
        "Each device's last figures in the time shown, with its model: a device that changed its model has a line for "
        "each. Click a device to see it alone. A synthetic engine only pretends: there is no language model.",
        query,
        columns,
    )
