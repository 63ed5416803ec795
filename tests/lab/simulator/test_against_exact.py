"""The simulated mesh goes the very way of an independent exact simulation of the paper's model.

Both are given the same arrivals, the same times for the nth item of each device and the same choices of peers: then
every latency must agree, not only their mean. `validation.py` beside this compares means with nothing in common.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from edge_agent.core.effects import SendToDevice, StartInference
from edge_agent.core.messages import ProposalRequest
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.workload import Recorded
from edge_agent.speed_up import SpeedUp
from tests.lab.simulator.exact_fcfs import ExactModel, poisson

PROMPTS = 300
MESHES = [(4, 2, 2), (4, 1, 3), (20, 2, 2), (4, 0, 0), (6, 3, 1)]
LOADS = [0.3, 0.6, 0.85, 0.95]


class TableService:
    """The nth item of a device takes a time that is drawn once, whoever asks for it."""

    def __init__(self, rng: random.Random, draw: Callable[[random.Random], float]) -> None:
        self._rng, self._draw = rng, draw
        self._times: dict[tuple[int, int], float] = {}
        self._served: Counter[int] = Counter()

    def time(self, device: int, nth: int) -> float:
        if (device, nth) not in self._times:
            self._times[device, nth] = self._draw(self._rng)
        return self._times[device, nth]

    def draw(self, device: int, request: StartInference, rng: random.Random) -> float:
        self._served[device] += 1
        return self.time(device, self._served[device] - 1)


def run_ours(
    devices: int,
    layers: int,
    fanout: int,
    rate_hz: float,
    arrivals: list[tuple[float, int]],
    service: TableService,
    speeds: tuple[float, ...] = (1.0,),
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
        slots=len(speeds),
        speed_up=SpeedUp(speeds),
    )
    run = LoadRun(scenario)
    chosen: dict[tuple[int, int], list[int]] = {}
    asked: Counter[int] = Counter()
    seen: set[str] = set()

    def note(device: int, effect: SendToDevice) -> None:
        message = effect.message
        if isinstance(message, ProposalRequest) and message.request_id not in seen:  # else a probe asks after one
            seen.add(message.request_id)
            chosen.setdefault((device, asked[device] // fanout), []).append(run.cluster.index[effect.device_id])
            asked[device] += 1

    run.cluster.on_effect(SendToDevice, note)
    run.run()
    return run, chosen


def run_both(
    devices: int,
    layers: int,
    fanout: int,
    utilisation: float,
    draw: Callable[[random.Random], float],
    prompts: int = PROMPTS,
    speeds: tuple[float, ...] = (1.0,),
) -> tuple[LoadRun, list[float], float]:
    """Returns our run, the exact latencies in ascending order and the exact mean of items waiting at a device."""
    rng = random.Random(f"{devices} {layers} {fanout} {utilisation}")
    rate_hz = utilisation * speeds[-1] / ((fanout + 1) * layers + 1)
    arrivals = poisson(devices, rate_hz, prompts, rng)
    service = TableService(rng, draw)
    run, chosen = run_ours(devices, layers, fanout, rate_hz, arrivals, service, speeds)
    model = ExactModel(devices, layers, service.time, lambda origin, nth: chosen.get((origin, nth), []), speeds)
    latencies = sorted(prompt.ended - prompt.arrived for prompt in model.run(arrivals))
    return run, latencies, model.area / arrivals[-1][0] / devices


@pytest.mark.parametrize(("devices", "layers", "fanout"), MESHES)
@pytest.mark.parametrize("utilisation", LOADS)
def test_every_latency_equals_that_of_an_independent_exact_simulation(
    devices: int, layers: int, fanout: int, utilisation: float
) -> None:
    run, exact, waiting = run_both(devices, layers, fanout, utilisation, lambda rng: rng.expovariate(1.0))
    assert sorted(run.measurement.latencies) == pytest.approx(exact, rel=1e-9)
    assert run.measurement.requests_waiting().value == pytest.approx(waiting, rel=1e-9)


@pytest.mark.parametrize(("devices", "layers", "fanout"), MESHES)
@pytest.mark.parametrize("utilisation", LOADS)
def test_with_deterministic_service_the_means_agree_though_many_things_happen_at_once(
    devices: int, layers: int, fanout: int, utilisation: float
) -> None:
    run, exact, waiting = run_both(devices, layers, fanout, utilisation, lambda rng: 1.0)
    # which of two that come at the very same moment is first is nobody's promise: the means hardly feel it
    assert run.measurement.latency().value == pytest.approx(sum(exact) / PROMPTS, rel=0.01)
    assert run.measurement.requests_waiting().value == pytest.approx(waiting, rel=0.01)


@pytest.mark.parametrize(("devices", "layers", "fanout"), [(4, 2, 2), (20, 1, 3), (4, 0, 0)])
@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("speeds", [(1.0, 1.6, 2.0, 2.2), (1.0, 2.0)])
def test_with_several_slots_every_latency_equals_that_of_the_exact_simulation_too(
    devices: int, layers: int, fanout: int, utilisation: float, speeds: tuple[float, ...]
) -> None:
    def draw(rng: random.Random) -> float:
        return rng.expovariate(1.0)

    run, exact, waiting = run_both(devices, layers, fanout, utilisation, draw, prompts=300, speeds=speeds)
    assert sorted(run.measurement.latencies) == pytest.approx(exact, rel=1e-6)
    assert run.measurement.requests_waiting().value == pytest.approx(waiting, rel=1e-6, abs=1e-9)
