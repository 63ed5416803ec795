"""The stability report for a terminal: the mesh with predictions beside, then each device."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_agent.lab.analysis import DeviceReport, MeshReport
from edge_agent.lab.simulator.load.statistics import Estimate

DEVICES_SHOWN_MAX = 64  # a table of more is for --json


def stability_view(made: MeshReport) -> RenderableType:
    """Everything, for people."""
    parts: list[RenderableType] = [_verdict(made), _mesh_table(made)]
    if made.predicted is not None:
        parts.append(Text(f"Predicted waiting and latency: {made.predicted.kind}.", style="quiet"))
    parts.append(_device_table(made))
    if len(made.devices) > DEVICES_SHOWN_MAX:
        parts.append(Text(f"{len(made.devices) - DEVICES_SHOWN_MAX} more devices: see --json", style="quiet"))
    return Group(*parts)


def _verdict(made: MeshReport) -> Text:
    predicted = made.predicted
    if predicted is None:
        return Text("no prompt has ended yet: nothing can be said about stability", style="busy")
    text = f"load {predicted.load_max:.2f} on the busiest device, margin {predicted.stability_margin:.2f}"
    if predicted.load_max >= 1.0:
        return Text(f"overloaded: {text}; queues grow until prompts are refused or expire", style="bad")
    return Text(f"stable: {text}", style="good" if predicted.load_max < 0.85 else "busy")


def _mesh_table(made: MeshReport) -> Table:
    predicted = made.predicted
    plans = ", ".join(f"M={layers} k={fanout}: {count}" for (layers, fanout), count in sorted(made.plans.items()))
    engine = ", synthetic engine" if made.synthetic else ""
    about = f"{len(made.devices)} devices{engine}, {made.duration_s:.0f} s ({plans or 'no prompt'})"
    table = _table(f"mesh {made.mesh}: {about}")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True)
    p = predicted
    rows: list[tuple[str, str, str]] = [
        ("prompts per device λ (1/s)", number(made.arrival_rate_hz, 4), ""),
        ("service time α, mean (s)", number(made.service_time_s, 3), ""),
        ("  of proposals, of aggregations", _kinds(made), ""),
        ("its squared variation C²", number(made.service_time_scv), ""),
        ("utilisation, mean of devices", number(made.utilisation), number(p and _mean(p.utilisations))),
        ("offered load, mean of devices", number(made.offered_load), number(p and p.load_paper)),
        ("  on the busiest device", number(_busiest(made)), number(p and p.load_max)),
        ("  if all were as slow as the slowest", "", number(p and p.load_slowest)),
        ("waiting items, a device", interval(made.requests_waiting), number(p and p.requests_waiting_mean)),
        ("waiting time, mean (s)", interval(made.waiting_time_s.mean), ""),
        *_latency_rows(made),
        ("items refused a place", str(made.totals.get("rejected", 0)), f"{p.loss:.2%}" if p and p.loss else ""),
        ("responses missing, substitutes", f"{made.responses_missing}, {made.substitutes}", ""),
        ("prompts", ", ".join(f"{count} {name}" for name, count in sorted(made.outcomes.items())) or "none", ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _latency_rows(made: MeshReport) -> list[tuple[str, str, str]]:
    latency = made.predicted.latency_s if made.predicted else None
    measured = made.latency_s
    return [
        ("latency, mean (s)", interval(measured.mean), number(latency and latency.mean)),
        ("latency, p50 (s)", interval(measured.p50), number(latency and latency.p50)),
        ("latency, p95 (s)", interval(measured.p95), number(latency and latency.p95)),
        ("latency, p99 (s)", interval(measured.p99), number(latency and latency.p99)),
    ]


def _device_table(made: MeshReport) -> Table:
    table = _table("each device, measured (predicted)")
    for name in ("λ (1/s)", "α (s)", "utilisation", "offered", "waiting", "wait p95 (s)"):
        table.add_column(name, justify="right", no_wrap=True)
    for device in made.devices[:DEVICES_SHOWN_MAX]:
        table.add_row(device.device_id, *_device_cells(device))
    return table


def _device_cells(device: DeviceReport) -> list[str]:
    return [
        number(device.arrival_rate_hz, 4),
        number(device.service_time_s, 3),
        f"{number(device.utilisation)} ({number(device.utilisation_predicted)})",
        number(device.offered_load),
        f"{number(device.requests_waiting_mean)} ({number(device.requests_waiting_predicted)})",
        number(device.waiting_time_s.p95.value),
    ]


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, header_style="label")
    table.add_column("", no_wrap=True)
    return table


def _kinds(made: MeshReport) -> str:
    return f"{number(made.proposal_service_time_s, 3)}, {number(made.aggregation_service_time_s, 3)}"


def _busiest(made: MeshReport) -> float | None:
    return max((device.offered_load for device in made.devices if device.offered_load is not None), default=None)


def _mean(values: tuple[float, ...]) -> float:
    return math.fsum(min(1.0, value) for value in values) / len(values)


def number(value: float | None, digits: int = 2) -> str:
    """A figure as text; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def interval(value: Estimate, digits: int = 2) -> str:
    """A figure with the half width of its 95 % interval, where that could be told."""
    if not math.isfinite(value.half_width):
        return number(value.value, digits)
    return f"{number(value.value, digits)} ± {number(value.half_width, digits)}"
