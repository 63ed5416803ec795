"""What theory says of a scenario, beside what is measured. Formulas and their ranges: `edge_agent.core.stability`."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import final

from edge_agent.core.settings import UNBOUNDED
from edge_agent.core.stability import (
    device_utilisations,
    loss_probability,
    mean_requests_waiting,
    mean_service_time_s,
    messages_per_prompt,
)
from edge_agent.simulator.load.latency import LatencyLaw
from edge_agent.simulator.load.scenario import Scenario


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
    (waiting), M/M/1/K for prompts that find every place taken (outcomes).
    """
    times = [scenario.service.mean_s * factor for factor in scenario.slowness() or (1.0,) * scenario.devices]
    loads = _loads(scenario, times)
    bounded = scenario.queue_capacity < UNBOUNDED
    refused = loss_probability(sum(loads) / len(loads), scenario.queue_capacity) if bounded else 0.0
    prompts = scenario.prompt_count
    sojourns = Counter(
        _mean_item_s(scenario, time) / (1.0 - load) if load < 1.0 else math.inf
        for time, load in zip(times, loads, strict=True)
    )
    law = LatencyLaw(sojourns, scenario.layers, scenario.fanout)
    outcomes = {"answered": prompts * (1.0 - refused)}
    if refused:
        outcomes["refused"] = prompts * refused
    return Prediction(
        latency_mean_s=law.mean(),
        latency_quantiles_s={share: law.quantile(share) for share in (0.5, 0.95, 0.99)},
        requests_waiting_mean=sum(mean_requests_waiting(load, _scv(scenario)) for load in loads) / len(loads),
        utilisation_mean=sum(min(load, 1.0) for load in loads) / len(loads),
        outcomes=outcomes,
        messages=prompts * (1.0 - refused) * messages_per_prompt(scenario.layers, scenario.fanout, receipts=True),
    )


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
