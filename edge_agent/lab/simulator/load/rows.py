"""The figures of a report as rows of text: name, measured, predicted."""

from __future__ import annotations

import math

from edge_agent.core.settings import UNBOUNDED
from edge_agent.lab.simulator.load.report import Report, predicted_latencies


def subtitle(report: Report) -> str:
    """Returns the scenario in one line."""
    scenario = report.result.scenario
    capacity = "unbounded" if scenario.queue_capacity >= UNBOUNDED else str(scenario.queue_capacity)
    slow = f", {scenario.slow_devices} of them {scenario.slow_factor:g} times slower" if scenario.slow_devices else ""
    slots = f", {scenario.slots} slots (speed-up {scenario.speed_up})" if scenario.slots > 1 else ""
    return (
        f"{scenario.devices} devices{slow}, M={scenario.layers} k={scenario.fanout}, λ={scenario.rate_hz:.4g} a second "
        f"and device (ρ={scenario.load:.3g} under uniform selection), service {scenario.service}{slots}, "
        f"capacity {capacity}, selection {scenario.peer_selection}, plan {scenario.layer_plan}, seed {scenario.seed}"
    )


def report_rows(report: Report) -> list[tuple[str, str, str]]:
    """Returns rows of (name, measured, predicted); predictions are for uniform selection and fixed M and k."""
    predicted = report.predicted
    expected = predicted_latencies(predicted)
    rows = [(f"latency {name}, s", str(figure), _text(expected[name])) for name, figure in report.latency_s.items()]
    waiting = predicted.requests_waiting_mean
    rows.append(("items waiting at a device", str(report.requests_waiting), _text(waiting)))
    rows.append(("utilisation", f"{report.utilisation:.4f}", _text(predicted.utilisation_mean)))
    outcomes = report.result.measurement.outcomes
    rows += (
        (f"prompts {name}", str(outcomes[name]), _text(predicted.outcomes.get(name, 0.0), 7))
        for name in sorted({*outcomes, *predicted.outcomes})
    )
    rows.append(("messages between devices", str(report.result.messages), _text(predicted.messages, 9)))
    return rows


def _text(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "grows without bound"
