"""Part (b): the stable regime that the paper lacks, for every (M, k) of its table, measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.lab.experiments.table import DEVICES, ROWS
from edge_agent.lab.simulator.load.scenario import EXPONENTIAL_1S, Scenario

LOADS = (0.3, 0.45, 0.6, 0.75, 0.85, 0.9, 0.95)
LOADS_QUICK = (0.3, 0.6)
_PROMPTS_AT_REST = 4_500  # the error of a mean grows with about 1/(1-ρ): so does the number of prompts
_PROMPTS_MAX = 40_000
_PROMPTS_QUICK = 600
LARGER_DEVICES = 20
LARGER_PLAN = (2, 2)
"""Once in a mesh where k+1 is far from n: with k+1 = n queues move together and the prediction is an upper bound."""


def scenarios(*, quick: bool) -> list[Scenario]:
    """Every (M, k) of the table at every load, n = 4; and (2, 2) with n = 20. Exponential service, α = 1 s."""
    plans = [(DEVICES, row.layers, row.fanout) for row in (ROWS[:3] if quick else ROWS)]
    if not quick:
        plans.append((LARGER_DEVICES, *LARGER_PLAN))
    points = [(plan, load) for plan in plans for load in (LOADS_QUICK if quick else LOADS)]
    return [
        Scenario(
            devices=devices,
            layers=layers,
            fanout=fanout,
            utilisation=load,
            service=EXPONENTIAL_1S,
            prompts=_PROMPTS_QUICK if quick else prompts_at(load),
            seed=seed,  # every point its own: none shares its luck with another
        )
        for seed, ((devices, layers, fanout), load) in enumerate(points, start=1)
    ]


def prompts_at(load: float) -> int:
    """How many prompts give intervals of a few per cent at a load."""
    return int(min(_PROMPTS_MAX, _PROMPTS_AT_REST / max(1.0 - load, 0.05)))


def plan_name(scenario: Scenario) -> str:
    """Says n, M and k."""
    return f"n={scenario.devices}, M={scenario.layers}, k={scenario.fanout}"


def by_plan(items: Sequence[Scenario]) -> list[str]:
    """The plans in their order."""
    return list(dict.fromkeys(map(plan_name, items)))
