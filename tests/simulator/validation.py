"""Means against the independent exact simulation, with nothing in common but the parameters.

    python -m tests.simulator.validation [--prompts 160000]

Takes about ten minutes; the figures are in docs/SIMULATOR.md. Exits with 1 if one is more than 3 % off.
"""

from __future__ import annotations

import argparse
import random
import sys
from itertools import product

from edge_agent.core.service_time import parse_service
from edge_agent.simulator.load.run import LoadRun
from edge_agent.simulator.load.scenario import Scenario
from tests.simulator.exact_fcfs import ExactModel, poisson

SHARES = {0.3: 0.5, 0.6: 0.5, 0.85: 1.0}  # of the prompts: a lower load needs fewer for the same precision
LIMIT = 0.03


def exact(devices: int, layers: int, fanout: int, rho: float, service: str, prompts: int) -> tuple[float, float]:
    """Returns mean latency and mean waiting items a device."""
    rng = random.Random(f"exact {devices} {layers} {fanout} {rho} {service}")
    draw = (lambda server, nth: 1.0) if service.startswith("det") else (lambda server, nth: rng.expovariate(1.0))
    model = ExactModel(
        devices,
        layers,
        draw,
        lambda origin, nth: rng.sample([other for other in range(devices) if other != origin], fanout),
    )
    arrivals = poisson(devices, rho / ((fanout + 1) * layers + 1), prompts, rng)
    done = model.run(arrivals)
    return sum(one.ended - one.arrived for one in done) / prompts, model.area / arrivals[-1][0] / devices


def main() -> int:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=160_000)
    most = parser.parse_args().prompts
    print("| n, M, k | service | ρ | latency, ours | exact | off | waiting, ours | exact | off |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    worst = 0.0
    meshes, services = [(4, 2, 2), (4, 1, 3), (20, 2, 2)], ["deterministic:1", "exponential:1"]
    for (devices, layers, fanout), service, rho in product(meshes, services, SHARES):
        prompts = int(most * SHARES[rho])
        run = LoadRun(
            Scenario(
                devices=devices,
                layers=layers,
                fanout=fanout,
                utilisation=rho,
                service=parse_service(service),
                prompts=prompts,
                warm_up_s=0.0,
                seed=7,
            )
        )
        measured = run.run().measurement
        ours = measured.latency().value, measured.requests_waiting().value
        theirs = exact(devices, layers, fanout, rho, service, 2 * prompts)  # it is quicker: let it be the surer one
        off = [mine / other - 1.0 for mine, other in zip(ours, theirs, strict=True)]
        worst = max(worst, *(abs(one) for one in off))
        print(
            f"| {devices}, {layers}, {fanout} | {service.partition(':')[0]} | {rho} | {ours[0]:.3f} | {theirs[0]:.3f} "
            f"| {off[0]:+.1%} | {ours[1]:.4f} | {theirs[1]:.4f} | {off[1]:+.1%} |",
            flush=True,
        )
    print(f"\nworst: {worst:.1%}")
    return worst > LIMIT


if __name__ == "__main__":
    sys.exit(main())
