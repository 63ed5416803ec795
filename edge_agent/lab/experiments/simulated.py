"""Simulated runs as plain figures, many at a time over processes where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.lab.experiments.sections import Progress
from edge_agent.lab.simulator.load.prediction import Prediction, predict
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.statistics import Estimate
from edge_agent.lab.workers import worker_pool


@final
@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of a scenario, beside what was predicted of it. Waiting items and utilisation are a device's.

    refused: share of the prompts that found no place. utilisations: of each device.
    growth_hz: items by which a device's queue grew a second, fitted over the last half of the arrivals.
    """

    scenario: Scenario
    latency_s: Estimate
    requests_waiting: Estimate
    utilisation: float
    utilisations: tuple[float, ...]
    refused: float
    growth_hz: float
    predicted: Prediction


def simulate(scenario: Scenario) -> Simulated:
    """Runs one scenario."""
    result = LoadRun(scenario).run()
    measured = result.measurement
    half = measured.series[len(measured.series) // 2 :]
    return Simulated(
        scenario,
        measured.latency(),
        measured.requests_waiting(),
        measured.utilisation(),
        tuple(measured.utilisation_of(device) for device in range(scenario.devices)),
        measured.outcomes["refused"] / scenario.prompt_count,
        slope([at for at, _ in half], [waiting for _, waiting in half]),
        predict(scenario),
    )


def simulate_all(scenarios: Sequence[Scenario], jobs: int, progress: Progress) -> list[Simulated]:
    """Runs scenarios, in `jobs` processes; returns what came of each, in their order."""
    done = []
    for at, one in enumerate(_each(scenarios, jobs), start=1):
        done.append(one)
        progress(at, len(scenarios))
    return done


def _each(scenarios: Sequence[Scenario], jobs: int) -> Iterator[Simulated]:
    if jobs == 1:
        yield from map(simulate, scenarios)
        return
    with worker_pool(jobs) as pool:
        yield from pool.map(simulate, scenarios)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Returns the slope of the line of least squares; 0 of fewer than two different places."""
    if len(x) < 2:
        return 0.0
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    square = sum((one - x_mean) ** 2 for one in x)
    return sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / square if square else 0.0
