"""A load run in figures: what was measured, beside what theory predicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from edge_agent.lab.simulator.checkers import Violation
from edge_agent.lab.simulator.checkers.nothing_left import NothingLeft
from edge_agent.lab.simulator.load.prediction import Prediction, predict
from edge_agent.lab.simulator.load.run import LoadResult, LoadRun
from edge_agent.lab.simulator.load.statistics import Estimate

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@final
@dataclass(frozen=True, slots=True)
class Report:
    """Measured and predicted figures of one run. Latencies in seconds, by name (`mean`, `p50`, ...)."""

    result: LoadResult
    latency_s: dict[str, Estimate]
    requests_waiting: Estimate
    utilisation: float
    predicted: Prediction
    violations: tuple[str, ...]

    def as_object(self) -> dict[str, Any]:
        """Returns the figures as JSON knows them: what is infinite or unknown is `null`."""
        result, predicted = self.result, self.predicted
        return {
            "latency_s": {name: _number(figure.value) for name, figure in self.latency_s.items()},
            "requests_waiting_mean": _number(self.requests_waiting.value),
            "utilisation_mean": _number(self.utilisation),
            "outcomes": dict(sorted(result.measurement.outcomes.items())),
            "messages": result.messages,
            "events": result.events,
            "events_per_s": round(result.events / max(result.wall_s, 1e-9)),
            "predicted": {
                "kind": predicted.kind,
                "latency_s": {name: _number(value) for name, value in predicted_latencies(predicted).items()},
                "requests_waiting_mean": _number(predicted.requests_waiting_mean),
                "utilisation_mean": _number(predicted.utilisation_mean),
                "outcomes": {name: round(value, 3) for name, value in predicted.outcomes.items()},
                "messages": round(predicted.messages),
            },
            "violations": list(self.violations),
            "trace_hash": result.trace_hash,
            "seed": result.scenario.seed,
        }


def make_report(run: LoadRun, result: LoadResult) -> Report:
    """Returns the report of a finished run."""
    measurement = result.measurement
    latencies = {"mean": measurement.latency()}
    latencies |= {name: measurement.latency(share) for name, share in QUANTILES.items()}
    return Report(
        result=result,
        latency_s=latencies,
        requests_waiting=measurement.requests_waiting(),
        utilisation=measurement.utilisation(),
        predicted=predict(result.scenario),
        violations=_violations(run, result),
    )


def predicted_latencies(predicted: Prediction) -> dict[str, float]:
    """Returns the predicted latencies under the names of the measured ones."""
    return {
        "mean": predicted.latency_mean_s,
        **{name: predicted.latency_quantiles_s[share] for name, share in QUANTILES.items()},
    }


def _violations(run: LoadRun, result: LoadResult) -> tuple[str, ...]:
    found = []
    if result.unfinished:
        found.append(f"{result.unfinished} prompts never ended")
    try:
        NothingLeft().at_rest(run.cluster.now, run.cluster.agents)
    except Violation as violation:
        found.append(str(violation))
    return tuple(found)


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
