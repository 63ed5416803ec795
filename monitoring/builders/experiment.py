"""Dashboard "Experiment": meshes, or runs under names of their own, beside each other and beside theory."""

from __future__ import annotations

from typing import Any

from monitoring.builders.influxql import OF_MESH, PER_MINUTE, nested, over_range, over_time
from monitoring.builders.page import Panels, mesh_variable, page
from monitoring.builders.panels import LOAD_STEPS, curves, rows, scatter

UID = "moamesh-experiment"
_WHERE = (OF_MESH,)
_ANSWERED = (OF_MESH, "\"outcome\" = 'answered'")
_BY = "$tag_mesh"
# intervals differ a little in length: a mean over many of them weighs each by it, as the measured means are exact
_WEIGHTED = (
    '"interval_s" AS "t", "interval_s" * "offered_load" AS "load", '
    '"interval_s" * "requests_waiting_mean" AS "waiting", '
    '"interval_s" * "requests_waiting_predicted" AS "theory", "interval_s" * "utilisation" AS "busy"'
)
_MEANS = (
    'sum("load") / sum("t") AS "ρ", sum("busy") / sum("t") AS "busy", sum("waiting") / sum("t") AS "measured", '
    'sum("theory") / sum("t") AS "predicted"'
)


def experiment() -> dict[str, Any]:
    """Returns the dashboard."""
    return page(
        UID,
        "moamesh: Experiment",
        "Compare meshes, or runs that had a mesh name of their own: measured beside predicted, ρ swept.",
        (mesh_variable(several=True),),
        (("Measured beside predicted", _against_theory()), ("Over time", _over_time()), ("Answers", _answers())),
        since="now-6h",
        refresh="",
    )


def _weighted(*by: str) -> str:
    return nested(_MEANS, over_range(_WEIGHTED, "agent_queue", _WHERE, by=by), by=by)


def _against_theory() -> Panels:
    return (
        scatter(
            "Waiting items over ρ",
            "One dot for each device of each chosen mesh: its mean over the time shown, measured and predicted. Choose "
            "a time without the warm-up. Dots that part above ρ = 1 are right: an unstable queue has no mean.",
            "short",
            _weighted("mesh", "device_id"),
            "ρ",
            ("measured", "predicted"),
        ),
        rows(
            "Meshes compared",
            "Means of all devices over the time shown, weighted by the length of each interval.",
            _weighted("mesh"),
            (
                ("mesh", "", None),
                ("ρ", "percentunit", LOAD_STEPS),
                ("busy", "percentunit", None),
                ("measured", "short", None),
                ("predicted", "short", None),
            ),
            width=12,
        ),
        rows(
            "Engines compared",
            "Which models served, and how long they took. A synthetic engine only pretends: no language model.",
            over_range(
                'last("synthetic") AS "synthetic", mean("service_time_s_mean") AS "inference", '
                'mean("service_time_scv") AS "C²"',
                "agent_queue",
                _WHERE,
                by=("mesh", "model"),
            ),
            (
                ("mesh", "", None),
                ("model", "", None),
                ("synthetic", "", None),
                ("inference", "s", None),
                ("C²", "none", None),
            ),
            width=12,
        ),
    )


def _over_time() -> Panels:
    return (
        curves(
            "Offered load ρ",
            "Mean of each mesh's devices.",
            "percentunit",
            over_time('mean("offered_load") AS "load"', "agent_queue", _WHERE, by=("mesh",)),
            steps=LOAD_STEPS,
            alias=_BY,
        ),
        curves(
            "Waiting items a device: measured beside predicted",
            "Means of each mesh's devices; what theory says is dashed (an approximation for equal devices, "
            "docs/THEORY.md).",
            "short",
            over_time(
                'mean("requests_waiting_mean") AS "measured", mean("requests_waiting_predicted") AS "predicted"',
                "agent_queue",
                _WHERE,
                by=("mesh",),
            ),
            alias=f"{_BY} $col",
        ),
    )


def _answers() -> Panels:
    quantiles = ", ".join(f'percentile("end_to_end_latency_s", {of}) AS "p{of}"' for of in (50, 95, 99))
    return (
        rows(
            "Answers compared",
            "Answered prompts in the time shown: how many, how late, and of how many of the wanted responses.",
            over_range(
                f'count("end_to_end_latency_s") AS "answers", mean("end_to_end_latency_s") AS "mean", {quantiles}, '
                'sum("responses_joined") / sum("responses_expected") AS "responses"',
                "agent_session",
                _ANSWERED,
                by=("mesh",),
            ),
            (
                ("mesh", "", None),
                ("answers", "short", None),
                *((name, "s", None) for name in ("mean", "p50", "p95", "p99")),
                ("responses", "percentunit", None),
            ),
        ),
        curves(
            "Latency of answers, p95",
            "19 of 20 answers were quicker.",
            "s",
            over_time('percentile("end_to_end_latency_s", 95) AS "p95"', "agent_session", _ANSWERED, by=("mesh",)),
            alias=_BY,
        ),
        curves(
            "Answers a minute",
            "What each mesh delivers. Flat while the load rises: it is saturated.",
            "cpm",
            over_time(
                f'count("end_to_end_latency_s") {PER_MINUTE} AS "answers"', "agent_session", _ANSWERED, by=("mesh",)
            ),
            alias=_BY,
        ),
    )
