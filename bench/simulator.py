"""Simulated prompts per second, beside SimPy and Ciw on the same queueing model in the same run, in turns.

The model: n devices, Poisson prompts, first come first served, exponential service; each of M layers forks into the
origin and k random others and joins when all are done; the origin aggregates. Ours runs the whole agent besides, with
receipts, cancels, timers and a trace hash; theirs only the queues. That the three mean latencies agree shows that it
is the same model. After `make compiled` the compiled copy of ours is measured as well.

    python -m bench.simulator [--devices 20 200] [--prompts 3000] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ciw
import simpy

from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from scripts.compile_simulator import FOLDER, is_current

LAYERS, FANOUT, UTILISATION = 2, 2, 0.8


@dataclass
class Timing:
    """Prompts done, the processor seconds that took (others may use the machine too), and their mean latency."""

    prompts: int
    cpu_s: float
    latency_s: float


def run_ours(devices: int, prompts: int, seed: int) -> Timing:
    """The core that ships."""
    began = time.process_time()
    run = LoadRun(Scenario(devices=devices, utilisation=UTILISATION, prompts=prompts, warm_up_s=0.0, seed=seed))
    result = run.run()
    return Timing(prompts, time.process_time() - began, result.measurement.latency().value)


def run_compiled(devices: int, prompts: int, seed: int) -> Timing:
    """The same core, compiled: in a process of its own, where its folder comes first."""
    path = os.pathsep.join((str(FOLDER), str(Path(__file__).parents[1])))
    program = "import sys; from bench.simulator import print_ours; print_ours(*map(int, sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", program, *map(str, (devices, prompts, seed))]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    return Timing(**json.loads(done.stdout))


def print_ours(devices: int, prompts: int, seed: int) -> None:
    print(json.dumps(asdict(run_ours(devices, prompts, seed))))


def run_simpy(devices: int, prompts: int, seed: int) -> Timing:
    """One resource for each device, one process for each item."""
    rng = random.Random(seed)
    rate_hz = UTILISATION / ((FANOUT + 1) * LAYERS + 1) * devices
    began = time.process_time()
    environment = simpy.Environment()
    servers = [simpy.Resource(environment) for _ in range(devices)]
    latencies: list[float] = []

    def item(device: int) -> Iterator[Any]:
        with servers[device].request() as place:
            yield place
            yield environment.timeout(rng.expovariate(1.0))

    def prompt(origin: int) -> Iterator[Any]:
        arrived = environment.now
        for _ in range(LAYERS):
            others = [device if device < origin else device + 1 for device in rng.sample(range(devices - 1), FANOUT)]
            yield environment.all_of([environment.process(item(device)) for device in (origin, *others)])
        yield environment.process(item(origin))
        latencies.append(environment.now - arrived)

    def arrivals() -> Iterator[Any]:
        for _ in range(prompts):
            yield environment.timeout(rng.expovariate(rate_hz))
            environment.process(prompt(rng.randrange(devices)))

    environment.process(arrivals())
    environment.run()
    return Timing(len(latencies), time.process_time() - began, statistics.fmean(latencies))


def run_ciw(devices: int, prompts: int, seed: int) -> Timing:
    """One node for each device; what leaves a node counts for its prompt, and the last sends its next stage."""
    rate_hz = UTILISATION / ((FANOUT + 1) * LAYERS + 1)
    rng = random.Random(seed)
    latencies: list[float] = []

    class Session:
        def __init__(self, origin: int, simulation: Any) -> None:
            self.origin, self.simulation = origin, simulation
            self.arrived = simulation.current_time
            self.stage, self.left = 1, 0

        def fork(self, first: Any = None) -> None:
            """Sends the origin's item (the arrival itself in the first layer) and those of k others on their way."""
            others = rng.sample([device for device in range(devices) if device != self.origin], FANOUT)
            self.left = 1 + FANOUT
            self.send(self.origin, first)
            for device in others:
                self.send(device)

        def send(self, device: int, individual: Any = None) -> None:
            if individual is None:
                individual = self.simulation.IndividualType(0, simulation=self.simulation)
            individual.session = self
            self.simulation.transitive_nodes[device].accept(individual)

        def done(self) -> None:
            self.left -= 1
            if self.left:
                return
            self.stage += 1
            if self.stage <= LAYERS:
                self.fork()
            elif self.stage == LAYERS + 1:
                self.left = 1
                self.send(self.origin)
            else:
                latencies.append(self.simulation.current_time - self.arrived)

    class Arrivals(ciw.ArrivalNode):  # type: ignore[misc]  # Ciw has no types
        def send_individual(self, next_node: Any, next_individual: Any) -> None:
            Session(next_node.id_number - 1, self.simulation).fork(next_individual)

    class Exit(ciw.ExitNode):  # type: ignore[misc]  # Ciw has no types
        def accept(self, next_individual: Any, completed: bool = True) -> None:
            next_individual.session.done()

    began = time.process_time()
    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate_hz)] * devices,
        service_distributions=[ciw.dists.Exponential(1.0)] * devices,
        number_of_servers=[1] * devices,
        routing=[[0.0] * devices for _ in range(devices)],
    )
    simulation = ciw.Simulation(network, arrival_node_class=Arrivals, exit_node_class=Exit)
    simulation.simulate_until_max_time(prompts / (rate_hz * devices))
    return Timing(len(latencies), time.process_time() - began, statistics.fmean(latencies))


OURS = {"moamesh": run_ours, **({"compiled": run_compiled} if is_current() else {})}
PEERS = {"simpy": run_simpy, "ciw": run_ciw}
RUNS: dict[str, Callable[[int, int, int], Timing]] = OURS | PEERS


def compare(devices: int, prompts: int, rounds: int) -> dict[str, Any]:
    """Returns prompts per second and mean latency of each, and ours as a multiple of theirs."""
    timings: dict[str, list[Timing]] = {name: [] for name in RUNS}
    for seed in range(1, rounds + 1):
        for name, run in RUNS.items():
            timings[name].append(run(devices, prompts, seed))
    rates = {name: statistics.median(one.prompts / one.cpu_s for one in many) for name, many in timings.items()}
    return {
        "devices": devices,
        "prompts_per_s": rates,
        "latency_s_mean": {name: statistics.fmean(one.latency_s for one in many) for name, many in timings.items()},
        "times_theirs": {ours: {peer: rates[ours] / rates[peer] for peer in PEERS} for ours in OURS},
    }


def main() -> None:
    """Prints the comparison for each number of devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--prompts", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [compare(devices, arguments.prompts, arguments.rounds) for devices in arguments.devices]
    if arguments.json:
        print(json.dumps(results))
        return
    print(
        f"M={LAYERS} k={FANOUT}, ρ={UTILISATION}, {arguments.prompts} prompts, median of {arguments.rounds} rounds in"
    )
    print("turns, processor time; ours with the whole agent (receipts, timers), theirs with queues only")
    for result in results:
        for name, rate in result["prompts_per_s"].items():
            ratios = result["times_theirs"].get(name, {})
            beside = ", ".join(f"{ratio:.2f} times {peer}" for peer, ratio in ratios.items())
            latency = result["latency_s_mean"][name]
            print(f"{result['devices']:5} devices {name:>8} {rate:7.0f} prompts/s, latency {latency:4.1f} s   {beside}")
    print("aim: 1 times SimPy, 3 times Ciw")
    if "compiled" not in OURS:
        print("not measured: the compiled simulator (make compiled)")


if __name__ == "__main__":
    main()
