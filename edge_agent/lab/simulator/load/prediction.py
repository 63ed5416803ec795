"""What theory says of a scenario, beside what is measured. Formulas and their ranges: `edge_agent.core.stability`."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import final

from edge_agent.core.stability import (
    device_utilisations,
    loss_probability,
    mean_requests_waiting,
    mean_service_time_s,
    messages_per_prompt,
)
from edge_agent.lab.simulator.load.latency import LatencyLaw
from edge_agent.lab.simulator.load.scenario import Scenario

_ROUNDING = 1e-9  # a load asked for as 1 is not to be a hair below, where a queue would still be finite
_STATES_MAX = 10_000  # places from which on a queue counts as unbounded: sums would take long and change nothing


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted figures of a run, for uniform selection and fixed M and k."""

    latency_mean_s: float
    latency_quantiles_s: dict[float, float]
    requests_waiting_mean: float
    utilisation_mean: float
    outcomes: dict[str, float]
    messages: float


def predict(scenario: Scenario) -> Prediction:
    """Returns the figures; infinite where a queue would grow without bound.

    Approximations: sojourn times exponential and independent between devices (latency), M/G/1 for each device
    (waiting); where the queue is bounded M/M/1/K for all of them, prompts finding every place taken as items would.
    """
    times = [scenario.service.mean_s * factor for factor in scenario.slowness() or (1.0,) * scenario.devices]
    loads = [1.0 if abs(load - 1.0) < _ROUNDING else load for load in _loads(scenario, times)]
    queues = {}
    for time, load in set(zip(times, loads, strict=True)):
        queues[time, load] = _queue(scenario, _mean_item_s(scenario, time), load)
    each = [queues[key] for key in zip(times, loads, strict=True)]
    law = LatencyLaw(Counter(queue.sojourn_s for queue in each), scenario.layers, scenario.fanout)
    refused = fmean(queue.refused for queue in each)
    outcomes = {"answered": scenario.prompt_count * (1.0 - refused)}
    if refused:
        outcomes["refused"] = scenario.prompt_count * refused
    return Prediction(
        latency_mean_s=law.mean(),
        latency_quantiles_s={share: law.quantile(share) for share in (0.5, 0.95, 0.99)},
        requests_waiting_mean=fmean(queue.waiting for queue in each),
        utilisation_mean=fmean(queue.busy for queue in each),
        outcomes=outcomes,
        messages=outcomes["answered"] * messages_per_prompt(scenario.layers, scenario.fanout, receipts=True),
    )


@dataclass(frozen=True, slots=True)
class _Queue:
    waiting: float
    busy: float
    sojourn_s: float
    refused: float


def _queue(scenario: Scenario, item_s: float, load: float) -> _Queue:
    if scenario.queue_capacity > _STATES_MAX:
        sojourn_s = item_s / (1.0 - load) if load < 1.0 else math.inf
        return _Queue(mean_requests_waiting(load, _scv(scenario)), min(load, 1.0), sojourn_s, 0.0)
    # M/M/1/K: the chance of i items is proportional to ρ^i; scaled so that no power overflows
    scale = scenario.queue_capacity if load > 1.0 else 0
    weights = [load ** (count - scale) for count in range(scenario.queue_capacity + 1)]
    total = math.fsum(weights)
    present = math.fsum(count * weight for count, weight in enumerate(weights)) / total
    busy = 1.0 - weights[0] / total
    refused = loss_probability(load, scenario.queue_capacity)
    return _Queue(present - busy, busy, item_s * present / busy, refused)


def _loads(scenario: Scenario, times: list[float]) -> tuple[float, ...]:
    rates = [scenario.rate_hz] * scenario.devices
    aggregations = [time * scenario.aggregation_factor for time in times]
    return device_utilisations(times, rates, scenario.layers, scenario.fanout, aggregations)


def _mean_item_s(scenario: Scenario, plain_s: float) -> float:
    return mean_service_time_s(plain_s, plain_s * scenario.aggregation_factor, scenario.layers, scenario.fanout)


def _scv(scenario: Scenario) -> float:
    """C² of the mixture of plain items and those with references."""
    items = scenario.layers * (scenario.fanout + 1) + 1
    plain_share = (scenario.fanout + 1 if scenario.layers else 1) / items
    factor = scenario.aggregation_factor
    mean = plain_share + (1.0 - plain_share) * factor
    square = (plain_share + (1.0 - plain_share) * factor**2) * (1.0 + scenario.service.scv)
    return square / mean**2 - 1.0
