"""The simulated mesh goes the very way of an independent exact simulation of the paper's model.

Both are given the same arrivals, the same times for the nth item of each device and the same choices of peers: then
every latency must agree, not only their mean. `validation.py` beside this compares means with nothing in common.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_agent.core.effects import SendToDevice, StartInference
from edge_agent.core.messages import ProposalRequest
from edge_agent.simulator.load.run import LoadRun
from edge_agent.simulator.load.scenario import Scenario
from edge_agent.simulator.workload import Recorded
from tests.simulator.exact_fcfs import ExactModel, poisson

PROMPTS = 600
MESHES = [(4, 2, 2), (4, 1, 3), (20, 2, 2), (4, 0, 0), (6, 3, 1)]


@dataclass
class TableService:
    """The nth item of a device takes what the table says."""

    table: list[list[float]]
    served: dict[int, int] = field(default_factory=dict)

    def draw(self, device: int, request: StartInference, rng: random.Random) -> float:
        nth = self.served.get(device, 0)
        self.served[device] = nth + 1
        return self.table[device][nth]


def run_ours(
    devices: int, layers: int, fanout: int, rate_hz: float, arrivals: list[tuple[float, int]], service: TableService
) -> tuple[LoadRun, dict[tuple[int, int], list[int]]]:
    """Returns the finished run and the peers asked in the nth layer that each device began."""
    scenario = Scenario(
        devices=devices,
        layers=layers,
        fanout=fanout,
        arrival_rate_hz=rate_hz,
        warm_up_s=0.0,
        workload=Recorded(arrivals),
        measured_service=service,
    )
    run = LoadRun(scenario)
    chosen: dict[tuple[int, int], list[int]] = {}
    layers_of: dict[int, list[tuple[Any, int]]] = {}

    def note(device: int, effect: SendToDevice) -> None:
        message = effect.message
        if not isinstance(message, ProposalRequest) or message.request_id in seen:
            return  # a probe asks again for what was asked for
        seen.add(message.request_id)
        begun = layers_of.setdefault(device, [])
        if not begun or begun[-1][1] == fanout:
            begun.append((None, 0))
        begun[-1] = (None, begun[-1][1] + 1)
        chosen.setdefault((device, len(begun) - 1), []).append(run.cluster.index[effect.device_id])

    seen: set[str] = set()
    run.cluster.on_effect(SendToDevice, note)
    run.run()
    return run, chosen


@pytest.mark.parametrize(("devices", "layers", "fanout"), MESHES)
@pytest.mark.parametrize("utilisation", [0.6, 0.95])
def test_every_latency_equals_that_of_an_independent_exact_simulation(
    devices: int, layers: int, fanout: int, utilisation: float
) -> None:
    rng = random.Random(f"{devices} {layers} {fanout} {utilisation}")
    rate_hz = utilisation / ((fanout + 1) * layers + 1)
    arrivals = poisson(devices, rate_hz, PROMPTS, rng)
    items = PROMPTS * ((fanout + 1) * layers + 1)
    table = [[rng.expovariate(1.0) for _ in range(items)] for _ in range(devices)]
    run, chosen = run_ours(devices, layers, fanout, rate_hz, arrivals, TableService(table))

    model = ExactModel(
        devices, layers, lambda server, nth: table[server][nth], lambda origin, nth: chosen.get((origin, nth), [])
    )
    prompts = model.run(arrivals)

    exact = sorted(prompt.ended - prompt.arrived for prompt in prompts)
    assert sorted(run.measurement.latencies) == pytest.approx(exact, rel=1e-9)
    last = arrivals[-1][0]
    assert run.measurement.requests_waiting().value == pytest.approx(model.area / last / devices, rel=1e-9)


def test_with_deterministic_service_too_where_many_things_happen_at_once() -> None:
    devices, layers, fanout, rate_hz = 4, 2, 2, 0.6 / 7
    arrivals = poisson(devices, rate_hz, PROMPTS, random.Random(3))
    ones = [[1.0] * (PROMPTS * 7)] * devices
    run, chosen = run_ours(devices, layers, fanout, rate_hz, arrivals, TableService(ones))
    model = ExactModel(devices, layers, lambda server, nth: 1.0, lambda origin, nth: chosen[origin, nth])
    prompts = model.run(arrivals)
    # which of two that come at the very same moment is first is nobody's promise: the means hardly feel it
    exact = sum(prompt.ended - prompt.arrived for prompt in prompts) / PROMPTS
    assert run.measurement.latency().value == pytest.approx(exact, rel=0.03)
    assert run.measurement.requests_waiting().value == pytest.approx(model.area / arrivals[-1][0] / devices, rel=0.03)
