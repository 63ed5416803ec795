"""What theory says of a scenario, beside what is measured. Formulas and their ranges: `core.stability`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import final

from edge_agent.core.stability import (
    Mesh,
    MeshLaw,
    bounded_chain,
    device_utilisations,
    kind,
    mean_service_time_s,
    messages_per_prompt,
)
from edge_agent.lab.simulator.load.latency import LOAD_MAX, LatencyLaw, load_between
from edge_agent.lab.simulator.load.scenario import Scenario

_ROUNDING = 1e-9  # a load asked for as 1 is not to be a hair below, where a queue would still be finite
_STATES_MAX = 10_000  # places from which on a queue counts as unbounded: sums would take long and change nothing


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted figures of a run, for uniform selection and fixed M and k; `kind` says how good a prediction it is."""

    kind: str
    latency_mean_s: float
    latency_quantiles_s: dict[float, float]
    requests_waiting_mean: float
    utilisation_mean: float
    outcomes: dict[str, float]
    messages: float


def predict(scenario: Scenario) -> Prediction:
    """Returns the figures; infinite where a queue would grow without bound.

    Equal devices with unbounded queues: `core.stability.MeshLaw`. Unequal ones: the same law for the waiting at each,
    and `LatencyLaw`. Bounded queues: the chain cut off at K places, with the law's corrections, prompts finding every
    place taken as items would.
    """
    times = [scenario.service.mean_s * factor for factor in scenario.slowness() or (1.0,) * scenario.devices]
    loads = [1.0 if abs(load - 1.0) < _ROUNDING else load for load in _loads(scenario, times)]
    queues = {}
    for time, load in set(zip(times, loads, strict=True)):
        queues[time, load] = _queue(scenario, _mean_item_s(scenario, time), load)
    each = [queues[key] for key in zip(times, loads, strict=True)]
    sojourns = [queue.sojourn_s for queue in each]
    law = LatencyLaw(Counter(sojourns), _mesh(scenario, load_between(loads, sojourns)))
    refused = fmean(queue.refused for queue in each)
    outcomes = {"answered": scenario.prompt_count * (1.0 - refused)}
    if refused:
        outcomes["refused"] = scenario.prompt_count * refused
    return Prediction(
        kind(_mesh(scenario, 0.0), bounded=scenario.queue_capacity <= _STATES_MAX, equal=len(set(times)) == 1),
        latency_mean_s=law.mean(),
        latency_quantiles_s={share: law.quantile(share) for share in (0.5, 0.95, 0.99)},
        requests_waiting_mean=fmean(queue.waiting for queue in each),
        utilisation_mean=fmean(queue.busy for queue in each),
        outcomes=outcomes,
        messages=outcomes["answered"] * messages_per_prompt(scenario.layers, scenario.fanout, receipts=True),
    )


def _mesh(scenario: Scenario, load: float) -> Mesh:
    return Mesh(
        scenario.layers,
        scenario.fanout,
        scenario.devices,
        load,
        scenario.service.scv,
        scenario.aggregation_factor,
        scenario.gains,
    )


@dataclass(frozen=True, slots=True)
class _Queue:
    waiting: float
    busy: float
    sojourn_s: float
    refused: float


def _queue(scenario: Scenario, item_s: float, load: float) -> _Queue:
    if scenario.queue_capacity > _STATES_MAX:
        law = MeshLaw(_mesh(scenario, load))
        return _Queue(law.requests_waiting, min(load, 1.0), item_s * law.sojourn_time, 0.0)
    cut = bounded_chain(load, scenario.queue_capacity, scenario.gains)
    law = MeshLaw(_mesh(scenario, min(load, LOAD_MAX)))
    waiting = min(cut.waiting * law.waiting_correction, scenario.queue_capacity - cut.running)
    return _Queue(waiting, cut.busy, item_s * (waiting + cut.running) / cut.served, cut.lost)


def _loads(scenario: Scenario, times: list[float]) -> tuple[float, ...]:
    rates = [scenario.rate_hz] * scenario.devices
    aggregations = [time * scenario.aggregation_factor for time in times]
    return device_utilisations(
        times, rates, scenario.layers, scenario.fanout, aggregations, [scenario.gains] * scenario.devices
    )


def _mean_item_s(scenario: Scenario, plain_s: float) -> float:
    return mean_service_time_s(plain_s, plain_s * scenario.aggregation_factor, scenario.layers, scenario.fanout)
