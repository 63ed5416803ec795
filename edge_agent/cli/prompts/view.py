"""Measured load beside what theory says, as a table; and the same as Markdown."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edge_agent.cli.prompts.summary import RunSummary
from edge_agent.core.stability import APPROXIMATION

Row = tuple[str, str, str]


def load_table(summary: RunSummary) -> Table:
    """The run's figures, measured and predicted."""
    plan = f"M={summary.layers}, k={summary.fanout}"
    table = Table(
        title=f"load, measured beside predicted ({plan})",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        header_style="label",
    )
    table.add_column("")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True)
    for row in load_rows(summary):
        table.add_row(*row)
    return table


def load_rows(summary: RunSummary) -> list[Row]:
    """(what, measured, predicted), each as text."""
    return [
        ("utilisation ρ = α((k+1)M+1)λ", _number(summary.utilisation), _number(summary.utilisation_predicted)),
        *(
            (f"  {device.device_id}", _number(device.utilisation), _number(device.utilisation_predicted))
            for device in summary.devices
        ),
        ("stability margin 1 - ρ", _margin(summary.utilisation), _number(summary.stability_margin_predicted)),
        (
            "waiting items (predicted: steady state)",
            _number(summary.requests_waiting_mean),
            _number(summary.requests_waiting_predicted),
        ),
        *((f"  {device.device_id}", _number(device.requests_waiting_mean), "") for device in summary.devices),
        (
            "messages per prompt (2kM + kM receipts)",
            _number(summary.messages_per_prompt, 1),
            str(summary.messages_predicted),
        ),
        ("service time α, mean (s)", _number(summary.service_time_s), ""),
        ("prompts per device λ (1/s)", _number(summary.arrival_rate_hz, 4), ""),
        ("latency, mean (s)", _number(summary.latency_mean_s), ""),
        ("latency, p95 (s)", _number(summary.latency_p95_s), ""),
        ("output tokens/s, all devices", _number(summary.tokens_per_s, 1), ""),
    ]


def load_markdown(summary: RunSummary, heading: str) -> str:
    """A Markdown section with the run's table."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(summary.outcomes.items()))
    lines = [
        f"# {heading}",
        "",
        f"{summary.prompts} prompts ({outcomes}) in {summary.duration_s:.0f} s; "
        f"M = {summary.layers}, k = {summary.fanout}, {len(summary.devices)} devices; "
        f"models: {', '.join(summary.models)}.",
        "",
        "| | measured | predicted |",
        "|---|---:|---:|",
        *(
            f"| {what.replace('  ', '&nbsp;&nbsp;')} | {measured} | {predicted} |"
            for what, measured, predicted in load_rows(summary)
        ),
        "",
        f"Predicted waiting items are those of the steady state: {APPROXIMATION}.",
        "",
    ]
    return "\n".join(lines)


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    return "∞" if value == float("inf") else f"{value:.{digits}f}"


def _margin(utilisation: float | None) -> str:
    return _number(None if utilisation is None else 1.0 - utilisation)
