"""Fewer layers and peers while the mesh can't bear more, down to local answers, and all of them again afterwards."""

from __future__ import annotations

import math

from edge_agent.core.load import SMOOTHING_SERVICES, Load
from edge_agent.core.policies.arguments import parse_number
from edge_agent.core.stability import items_per_prompt

TARGET_DEFAULT = "1"  # utilisation: the stability condition itself; what a queue has grown to meanwhile lowers it
HYSTERESIS = 0.2  # of utilisation between lowering and raising: about the noise of a load smoothed over 10 services
DRAIN_SERVICES = 20.0  # mean service times in which a backlog is to be gone: about as long as a prompt takes under load
BACKLOG_MIN = 3.0  # mean service times: while little waits, a high load is a chance cluster of arrivals
_LOAD_MIN = 1e-9  # no load at all: everything is affordable


class Adaptive:
    """Keeps the paper's stability condition true with the load as measured: `adaptive(0.9)` keeps it below 0.9.

    A prompt costs the mesh (k+1)M+1 items (Theorem 1 of arXiv 2412.21200), so the load is proportional to the items of
    a prompt: with plans of `spent` items on average the offered load is L, so plans of c items make it L c/spent. The
    largest c for which that stays below the target is affordable; a backlog b takes b/DRAIN_SERVICES off the target, so
    that it is worked off. Between what is affordable for the target and for the target less `HYSTERESIS` nothing
    changes, and nothing is lowered while next to nothing waits.

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
        keep = math.exp(-load.elapsed / SMOOTHING_SERVICES)  # own plans are averaged as the load is
        self._weight *= keep
        self._spent *= keep
        mean_items = self._spent / self._weight if self._weight > 0 else items_per_prompt(layers, fanout)
        items_at_load_1 = mean_items / max(load.offered, _LOAD_MIN)
        room = self._target - load.backlog / DRAIN_SERVICES
        most, least = max(room, 0.0) * items_at_load_1, max(room - HYSTERESIS, 0.0) * items_at_load_1
        if load.backlog > BACKLOG_MIN:
            self._affordable = min(self._affordable, most)
        self._affordable = max(self._affordable, least)
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
