"""Fewer layers and peers while the mesh can't bear more, down to local answers, and all of them again afterwards."""

from __future__ import annotations

import math

from edge_agent.core.policies.arguments import parse_number
from edge_agent.core.policies.layer_plan import Load
from edge_agent.core.stability import items_per_prompt

TARGET_DEFAULT = "0.9"  # utilisation: above it waiting grows steeply (M/M/1: 9 items at 0.9, 19 at 0.95)
HYSTERESIS = 0.15  # of utilisation between lowering and raising: above the noise of a load smoothed over 20 services
DRAIN_SERVICES = 40.0  # mean service times in which a backlog is to be gone: about the time a prompt takes at 0.8
MEMORY_SERVICES = 20.0  # mean service times over which own plans are averaged: as the load is smoothed


class Adaptive:
    """Keeps the paper's stability condition true with the load as measured: `adaptive(0.9)`.

    A prompt costs the mesh (k+1)M+1 items (Theorem 1 of arXiv 2412.21200), so the load is proportional to the items of
    a prompt: with plans of `spent` items on average the offered load is L, so plans of c items make it L c/spent. The
    largest c for which that stays below the target is affordable; a backlog b takes b/DRAIN_SERVICES off the target, so
    that it is worked off. Between what is affordable for the target and for the target less `HYSTERESIS` nothing
    changes.

    Assumes that peers' prompts come and are planned about as this device's. Where they are not, the next decision
    sees what the last one came to.
    """

    def __init__(self, target: float) -> None:
        self._target = target
        self._affordable = math.inf
        self._weight = 0.0
        self._spent = 0.0

    @classmethod
    def from_argument(cls, argument: str) -> Adaptive:
        """Takes the utilisation to stay below, above the hysteresis and at most 1."""
        text = argument or TARGET_DEFAULT
        return cls(parse_number(text, what="a utilisation", example="adaptive(0.9)", above=HYSTERESIS, at_most=1.0))

    def plan(self, layers: int, fanout: int, load: Load) -> tuple[int, int]:
        """Returns the largest plan within what was asked for that the load allows."""
        keep = math.exp(-load.elapsed / MEMORY_SERVICES)
        self._weight *= keep
        self._spent *= keep
        mean_items = self._spent / self._weight if self._weight > 0 else items_per_prompt(layers, fanout)
        room = self._target - load.backlog / DRAIN_SERVICES
        bearable = mean_items / load.offered if load.offered > 0 else math.inf
        self._affordable = min(self._affordable, max(room, 0.0) * bearable) if room > 0 else 0.0
        if room > HYSTERESIS:
            self._affordable = max(self._affordable, (room - HYSTERESIS) * bearable)
        chosen = _largest_plan(layers, fanout, self._affordable)
        self._weight += 1.0
        self._spent += items_per_prompt(*chosen)
        return chosen


def _largest_plan(layers: int, fanout: int, items: float) -> tuple[int, int]:
    """The plan of most items within `items`; of equal ones that with more peers. Local answers are always possible."""
    best = (0, 0)
    for m in range(1, layers + 1):
        for k in range(min(1, fanout), fanout + 1):
            cost = items_per_prompt(m, k)
            if cost <= items and (cost, k) > (items_per_prompt(*best), best[1]):
                best = (m, k)
    return best
