"""A table of means beside the independent exact simulation, given the same arrivals, service times and choices.

    python -m tests.lab.simulator.validation

The same comparison, latency by latency, is in test_against_exact.py; this prints the figures of docs/SIMULATOR.md.
"""

from __future__ import annotations

from itertools import product

from tests.lab.simulator.test_against_exact import run_both

PROMPTS = 5_000
MESHES = [(4, 2, 2), (4, 1, 3), (20, 2, 2)]
SERVICES = {"deterministic": lambda rng: 1.0, "exponential": lambda rng: rng.expovariate(1.0)}


def main() -> None:
    """Prints a Markdown table."""
    print("| n, M, k | service | ρ | latency, ours | exact | off | waiting, ours | exact | off |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (devices, layers, fanout), service, rho in product(MESHES, SERVICES, (0.3, 0.6, 0.85)):
        run, exact, waiting = run_both(devices, layers, fanout, rho, SERVICES[service], PROMPTS)
        latency, mine = sum(exact) / len(exact), run.measurement
        ours = mine.latency().value, mine.requests_waiting().value
        print(
            f"| {devices}, {layers}, {fanout} | {service} | {rho} | {ours[0]:.4f} | {latency:.4f} "
            f"| {abs(ours[0] / latency - 1):.3%} | {ours[1]:.5f} | {waiting:.5f} | {abs(ours[1] / waiting - 1):.3%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
