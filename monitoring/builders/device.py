"""Dashboard "Device": one device's queue, inferences and telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitoring.builders.influxql import OF_DEVICE, OF_MESH, PER_MINUTE, over_range, over_time
from monitoring.builders.page import Panels, device_variable, mesh_variable, page
from monitoring.builders.panels import ANY_IS_BAD, LOAD_STEPS, MARGIN_STEPS, PLAIN, THIRD, Steps, curves, number

UID = "moamesh-device"
SPOOL_TITLE, QUEUE_TITLE = "Telemetry not yet sent", "Items and places"
_WHERE = (OF_MESH, OF_DEVICE)
_COMPLETED = (*_WHERE, "\"outcome\" = 'completed'")
_STREAMED = (*_COMPLETED, '"time_to_first_token_s" > 0')
_LOST = 'last("points_lost") + last("points_refused") + last("points_dropped")'
_QUEUE, _REQUEST, _TELEMETRY = "agent_queue", "agent_request", "agent_telemetry"


def device() -> dict[str, Any]:
    """Returns the dashboard."""
    return page(
        UID,
        "moamesh: Device",
        "One device: its queue, its inferences, its peers and its telemetry.",
        (mesh_variable(), device_variable(several=False)),
        (("Now", _numbers()), ("Queue", _queue()), ("Inferences", _inferences()), ("Around it", _around())),
    )


def _numbers() -> Panels:
    return (
        _last("Offered load ρ", "Above 100 % the queue grows.", "percentunit", "offered_load", LOAD_STEPS),
        _last("Stability margin", "The target less the load.", "percentunit", "stability_margin", MARGIN_STEPS),
        _last("Waiting now", "Items in the queue that wait for the engine.", "short", "requests_waiting"),
        _last("Engine busy", "Share of the last interval in which it inferred.", "percentunit", "utilisation"),
        _last("Peers alive", "Devices it can ask. 0: it answers alone.", "short", "peers_alive"),
        number(
            "Points lost",
            "Measurements that no database will get: the spool on disk was full, the server refused them, or they "
            "never reached the disk. More than 0: raise files_max under [telemetry], or see the agent's log.",
            "short",
            over_range(f'{_LOST} AS "lost"', _TELEMETRY, _WHERE),
            steps=ANY_IS_BAD,
        ),
    )


def _queue() -> Panels:
    return (
        curves(
            QUEUE_TITLE,
            "Items waiting and running when each interval ended, and the places and slots there are. Near the places: "
            "new prompts are refused and peers are told busy.",
            "short",
            over_time(
                'max("requests_waiting") AS "waiting", max("requests_running") AS "running", '
                'last("queue_capacity") AS "places", last("slots") AS "slots"',
                _QUEUE,
                _WHERE,
            ),
        ),
        curves(
            "Waiting items: measured beside predicted",
            "Exact means of each interval beside what theory says of the measured load and variation (dashed; an "
            "approximation for equal devices, docs/THEORY.md).",
            "short",
            over_time(
                'mean("requests_waiting_mean") AS "measured", mean("requests_waiting_predicted") AS "predicted"',
                _QUEUE,
                _WHERE,
            ),
        ),
        curves(
            "Load and busy share",
            "Work offered beside the share of time the engine was busy. Load above busy share: work is refused or "
            "piles up. Busy share above load: items are repeated or take longer than expected.",
            "percentunit",
            over_time('mean("offered_load") AS "offered load", mean("utilisation") AS "busy share"', _QUEUE, _WHERE),
            steps=LOAD_STEPS,
            width=THIRD,
        ),
        curves(
            "Prompts arriving",
            "Prompts a second that users bring to this device (λ), accepted or not.",
            "reqps",
            over_time('mean("arrival_rate_hz") AS "λ"', _QUEUE, _WHERE),
            width=THIRD,
        ),
        curves(
            "Items a minute, by end",
            "Accepted items and how items ended. Rejected or expired: too much load for the places or deadlines. "
            "Failed: see the device's log.",
            "cpm",
            _rises(("accepted", "completed", "rejected", "expired", "cancelled", "failed")),
            width=THIRD,
        ),
    )


def _inferences() -> Panels:
    times = ("waiting", "service", "sojourn")
    means = ", ".join(f'mean("{name}_time_s") AS "{name}, mean"' for name in times)
    tails = ", ".join(f'percentile("{name}_time_s", 95) AS "{name}, p95"' for name in times)
    first = 'percentile("time_to_first_token_s", 50) AS "p50", percentile("time_to_first_token_s", 95) AS "p95"'
    tokens = f'sum("input_tokens") {PER_MINUTE} AS "read", sum("output_tokens") {PER_MINUTE} AS "written"'
    return (
        curves(
            "Waiting, service and sojourn",
            "Time in the queue, time in the engine, and both, of completed items. Waiting far above service: too much "
            "load. Service rising: longer prompts, or other work on this host.",
            "s",
            over_time(f"{means}, {tails}", _REQUEST, _COMPLETED),
        ),
        curves(
            "Time to first token",
            "From the start of an inference to its first text, where text was streamed: reading the prompt.",
            "s",
            over_time(first, _REQUEST, _STREAMED),
        ),
        curves(
            "Tokens a minute",
            "Read (prompts and references) and written.",
            "cpm",
            over_time(tokens, _REQUEST, _COMPLETED),
            width=THIRD,
        ),
        curves(
            "Tokens written a second of service",
            "The engine's speed as users feel it, reading included. Falling: longer prompts, a hot or busy processor.",
            "suffix: tokens/s",
            over_time('sum("output_tokens") / sum("service_time_s") AS "speed"', _REQUEST, _COMPLETED),
            width=THIRD,
        ),
        curves(
            "Items ended a minute, by role and end",
            "As proposer and aggregator of its own prompts, and as peer for other devices.",
            "cpm",
            over_time(f'count("sojourn_time_s") {PER_MINUTE} AS "items"', _REQUEST, _WHERE, by=("role", "outcome")),
            stacked=True,
            width=THIRD,
            alias="$tag_role, $tag_outcome",
        ),
    )


def _around() -> Panels:
    return (
        curves(
            "Peers and sessions",
            "Devices it knows to be alive, and prompts it is working on for its own users.",
            "short",
            over_time('mean("peers_alive") AS "peers", mean("sessions_active") AS "sessions"', _QUEUE, _WHERE),
            width=THIRD,
        ),
        curves(
            "Service time and its variation",
            "Mean seconds of an inference, its squared variation C² (0: all alike, 1: exponential), and the items per "
            "second that all slots do. They shape the predicted queue.",
            "none",
            over_time(
                'mean("service_time_s_mean") AS "mean (s)", mean("service_time_scv") AS "C²", '
                'mean("service_rate_hz") AS "items/s, all slots"',
                _QUEUE,
                _WHERE,
            ),
            width=THIRD,
        ),
        curves(
            SPOOL_TITLE,
            "Points on the device's disk that each database has not got yet. Rising for minutes: the database is down, "
            "slow or out of reach; nothing is lost until the spool is full.",
            "short",
            over_time('max("spool_points") AS "points"', _TELEMETRY, _WHERE, by=("server",)),
            width=THIRD,
            alias="$tag_server",
        ),
    )


def _last(title: str, description: str, unit: str, field: str, steps: Steps = PLAIN) -> Any:
    query = over_range(f'last("{field}") AS "{field}"', _QUEUE, _WHERE)
    return number(title, description, unit, query, steps=steps)


def _rises(totals: Sequence[str]) -> str:
    rises = (f'non_negative_difference(last("{total}")) {PER_MINUTE} AS "{total}"' for total in totals)
    return over_time(", ".join(rises), _QUEUE, _WHERE)
