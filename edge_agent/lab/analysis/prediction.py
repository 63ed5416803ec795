"""What theory says of a mesh whose arrival rates and service times were measured. Formulas: `core.stability`.

Waiting is that of `MeshLaw` for each device's own load, mean and spread of service times; the latency that of
`lab.simulator.load.latency`, which for equal devices is `MeshLaw` again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from edge_agent.core import stability
from edge_agent.core.settings import UNBOUNDED
from edge_agent.core.stability import Mesh, MeshLaw
from edge_agent.lab.simulator.load.latency import LatencyLaw, load_between

Plan = tuple[int, int]
_ALIKE = 1.25  # the largest sojourn of devices that count as equal, in the smallest one's terms
_SOJOURN_GROUPS = 16  # the latency law costs the square of the number of different sojourns


@final
@dataclass(frozen=True, slots=True)
class QueueParameters:
    """What is known of a device: α and C² of its items, λ, how often each plan (M, k) was run, its places.

    aggregation_factor: how many times longer an item with references takes than one without; 1 where unknown.
    """

    service_time_s: float
    service_time_scv: float
    arrival_rate_hz: float
    plans: Mapping[Plan, int]
    queue_capacity: int
    aggregation_factor: float = 1.0


@final
@dataclass(frozen=True, slots=True)
class LatencyPrediction:
    """End to end, seconds."""

    mean: float
    p50: float
    p95: float
    p99: float


@final
@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted figures; infinity where a queue would grow without bound.

    plan: the (M, k) most prompts had; the latency is for it alone.
    load_paper: α((k+1)M+1)λ with mean α and λ (Theorem 1); load_slowest: with the slowest device's α (Remark 1).
    utilisations, requests_waiting: of each device, by the general condition and by `MeshLaw` (an approximation).
    load_max: the largest of the utilisations; the mesh is stable below 1. stability_margin: 1 less that.
    capacity_factor: by how much all arrivals could grow before no peer selection whatever keeps the mesh stable.
    loss: of an item that asks the busiest device for a place (M/M/1/K); 0 for an unbounded queue.
    kind: what sort of prediction waiting and latency are.
    complete: whether the telemetry has enough devices for the plan; if not, the unseen ones are taken as the seen are.
    """

    plan: Plan
    load_paper: float
    load_slowest: float
    utilisations: tuple[float, ...]
    load_max: float
    stability_margin: float
    capacity_factor: float | None
    requests_waiting: tuple[float, ...]
    requests_waiting_mean: float
    latency_s: LatencyPrediction
    loss: float
    kind: str
    complete: bool


def predict(devices: Sequence[QueueParameters]) -> Prediction:
    """Returns the figures for at least one device, each with a plan at least."""
    plans: Counter[Plan] = Counter()
    for device in devices:
        plans.update(device.plans)
    plan = plans.most_common(1)[0][0]
    complete = all(fanout < len(devices) or not layers for layers, fanout in plans)
    times = [device.service_time_s for device in devices]
    rates = [device.arrival_rate_hz for device in devices]
    alpha, rate_hz = _mean(times), _mean(rates)
    items = sum(stability.items_per_prompt(*one) * count for one, count in plans.items()) / plans.total()
    loads = _loads(devices, plans) if complete else tuple(time * items * rate_hz for time in times)
    meshes = [_mesh(device, load, plan, len(devices)) for device, load in zip(devices, loads, strict=True)]
    waiting = tuple(MeshLaw(mesh).requests_waiting for mesh in meshes)
    sojourns = [
        device.service_time_s * MeshLaw(mesh).sojourn_time for device, mesh in zip(devices, meshes, strict=True)
    ]
    load_max = max(loads)
    capacity = devices[loads.index(load_max)].queue_capacity
    return Prediction(
        plan=plan,
        load_paper=alpha * items * rate_hz,
        load_slowest=max(times) * items * rate_hz,
        utilisations=loads,
        load_max=load_max,
        stability_margin=stability.stability_margin(load_max),
        capacity_factor=stability.capacity_factor(times, rates, *plan) if complete else None,
        requests_waiting=waiting,
        requests_waiting_mean=_mean(waiting),
        latency_s=_latency(meshes, sojourns),
        loss=stability.loss_probability(load_max, capacity) if 0 < capacity < UNBOUNDED else 0.0,
        kind=stability.kind(meshes[0], equal=len(devices) == 1 or _alike(sojourns)),
        complete=complete,
    )


def _loads(devices: Sequence[QueueParameters], plans: Mapping[Plan, int]) -> tuple[float, ...]:
    """The general condition is linear in the arrival rates: each plan's prompts load the devices on their own."""
    times = [device.service_time_s for device in devices]
    loads = [0.0] * len(devices)
    for plan in plans:
        rates = [device.arrival_rate_hz * device.plans.get(plan, 0) / sum(device.plans.values()) for device in devices]
        parts = stability.device_utilisations(times, rates, *plan)
        loads = [load + part for load, part in zip(loads, parts, strict=True)]
    return tuple(loads)


def _alike(sojourns: Sequence[float]) -> bool:
    return max(sojourns) <= _ALIKE * min(sojourns)


def _mesh(device: QueueParameters, load: float, plan: Plan, count: int) -> Mesh:
    """A mesh of devices such as this one; where telemetry has too few of them, of as few as the plan can do with."""
    layers, fanout = plan
    count = max(count, fanout + 1)
    return Mesh(layers, fanout, count, load, 1.0, device.aggregation_factor).measured(device.service_time_scv)


def _latency(meshes: Sequence[Mesh], sojourns: Sequence[float]) -> LatencyPrediction:
    if math.inf in sojourns:
        return LatencyPrediction(math.inf, math.inf, math.inf, math.inf)
    between = replace(
        meshes[0],
        utilisation=load_between([mesh.utilisation for mesh in meshes], sojourns),
        squared_variation=_mean([mesh.squared_variation for mesh in meshes]),
        aggregation_factor=_mean([mesh.aggregation_factor for mesh in meshes]),
    )
    law = LatencyLaw(_grouped(sojourns, between.fanout + 1 if between.layers else 1), between)
    return LatencyPrediction(law.mean(), *(law.quantile(share) for share in (0.5, 0.95, 0.99)))


def _grouped(sojourns: Sequence[float], count_min: int) -> Counter[float]:
    """How many devices have each sojourn, in at most so many groups of neighbours, which take their mean."""
    ordered = sorted(sojourns)
    size = math.ceil(len(ordered) / _SOJOURN_GROUPS)
    groups = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    counted: Counter[float] = Counter()
    for group in groups:
        counted[_mean(group)] += len(group)
    if len(ordered) < count_min:  # telemetry of some devices only: the unseen are as the seen
        counted[_mean(ordered)] += count_min - len(ordered)
    return counted


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
