"""The stability report as panels to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_agent.lab.analysis.figures import Curve, Panel
from edge_agent.lab.analysis.report import MeshReport
from edge_agent.lab.analysis.series import MeshRecords

_CURVES_MAX = 12  # devices drawn one by one; of more, the mean is drawn
_BINS = 400  # points of the mean over time
_LATENCIES_MAX = 2_000  # steps of a distribution: more than a plot has columns


def report_panels(records: MeshRecords, made: MeshReport) -> list[Panel]:
    """Waiting items over time, utilisation of each device, and the distribution of latencies."""
    return [_waiting(records, made), _utilisation(made), _latency(records, made)]


def _waiting(records: MeshRecords, made: MeshReport) -> Panel:
    devices = [device for device in records.devices if device.intervals.ends_s]
    if len(devices) <= _CURVES_MAX:
        curves = [
            Curve(
                device.device_id,
                [end - records.from_s for end in device.intervals.ends_s],
                device.intervals.waiting_mean,
                colour=at,
            )
            for at, device in enumerate(devices)
        ]
    else:
        curves = [_mean_curve(records)]
    if made.predicted is not None:
        level = made.predicted.requests_waiting_mean
        ends = [0.0, records.until_s - records.from_s]
        curves.append(Curve("predicted mean", ends, [level, level], predicted=True, colour=len(curves)))
    return Panel("waiting items", "seconds", "mean over each interval", curves)


def _mean_curve(records: MeshRecords) -> Curve:
    span = max(records.until_s - records.from_s, 1e-9)
    areas, lengths = [0.0] * _BINS, [0.0] * _BINS
    for device in records.devices:
        one = device.intervals
        for end, length, waiting in zip(one.ends_s, one.length_s, one.waiting_mean, strict=True):
            at = min(_BINS - 1, max(0, int((end - length / 2 - records.from_s) / span * _BINS)))
            areas[at] += waiting * length
            lengths[at] += length
    seen = [at for at in range(_BINS) if lengths[at] > 0.0]
    return Curve("mean", [(at + 0.5) * span / _BINS for at in seen], [areas[at] / lengths[at] for at in seen])


def _utilisation(made: MeshReport) -> Panel:
    numbers = [float(at) for at in range(1, len(made.devices) + 1)]
    curves = [Curve("measured", numbers, [one.utilisation for one in made.devices], [0.0] * len(numbers))]
    if made.predicted is not None:
        curves.append(Curve("predicted", numbers, list(made.predicted.utilisations), predicted=True, colour=1))
    top = max([1.0, *(y for curve in curves for y in curve.y)])
    return Panel("utilisation ρ", "device", "", curves, y_max=1.05 * top)


def _latency(records: MeshRecords, made: MeshReport) -> Panel:
    latencies = sorted(
        one.latency_s for device in records.devices for one in device.sessions if one.outcome == "answered"
    )
    curves = [_distribution(latencies)] if latencies else []
    predicted = made.predicted.latency_s if made.predicted is not None else None
    if predicted is not None and math.isfinite(predicted.mean):
        at = [predicted.p50, predicted.p95, predicted.p99]
        curves.append(Curve("predicted p50, p95, p99", at, [0.5, 0.95, 0.99], predicted=True, colour=1))
    return Panel("latency, end to end", "seconds", "share of prompts within", curves, y_max=1.02)


def _distribution(ordered: Sequence[float]) -> Curve:
    step = max(1, len(ordered) // _LATENCIES_MAX)
    some = range(0, len(ordered), step)
    return Curve("measured", [ordered[at] for at in some], [(at + 1) / len(ordered) for at in some])
