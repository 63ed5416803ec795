"""First come, first served: no item starts while one that came earlier still waits, but for those of somebody who has
more than its share, whom others pass for a few turns."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, StartInference
from edge_agent.core.events import Event
from edge_agent.lab.simulator.checkers.base import Checker


class FirstCome(Checker):
    """Compares each queue with what it was before the event."""

    name = "first come, first served"

    def __init__(self) -> None:
        self._before: dict[int, list[str]] = {}
        self._over: dict[int, set[str]] = {}

    def restarted(self, device: int) -> None:
        """Its queue is empty."""
        self._before.pop(device, None)
        self._over.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        before = self._before.get(device, [])
        if not before and not agent.queue.waiting:
            return  # then nobody was over its share in line, either
        waiting = list(agent.queue.waiting)
        self._before[device] = waiting
        over_before = self._over.get(device, set())
        over = {item.item_id for item in agent.queue.waiting.values() if agent.queue.shares.is_over(item.holder)}
        self._over[device] = over
        if not before:
            return
        still = set(waiting)
        kept = [item_id for item_id in before if item_id in still]
        if kept != waiting[: len(kept)]:
            raise self.broken(f"the queue of d{device} went from {before} to {waiting}")
        for effect in effects:
            if type(effect) is StartInference and kept:
                item = agent.queue.running.get(effect.item_id)
                started_anew = item is not None and item.attempts == 1
                at = before.index(effect.item_id) if effect.item_id in before else len(before)
                passed = {item_id for item_id in before[:at] if item_id in still}
                if started_anew and not passed <= over | over_before:
                    raise self.broken(f"d{device} started {effect.item_id} before {kept[0]}, which came earlier")
