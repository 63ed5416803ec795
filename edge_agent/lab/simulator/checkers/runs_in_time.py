"""No item runs on past its deadline."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import Event
from edge_agent.lab.simulator.checkers.base import Checker

_BOUND_S = 0.5  # a deadline and a timer for it may lie a moment apart; a device is never busier than that here


class RunsInTime(Checker):
    """Looks at what runs whenever its device does anything, such as its gossip."""

    name = "no item runs past its deadline"

    def __init__(self) -> None:
        self._held_until: dict[int, float] = {}

    def held_up(self, device: int, now: float) -> None:
        """It could not end anything meanwhile."""
        self._held_until[device] = now

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        for item in agent.queue.running.values():
            late = now - max(item.expires_at, self._held_until.get(device, 0.0))
            if late > _BOUND_S:
                raise self.broken(f"d{device} still runs {item.item_id}, {late:.3f} s past its deadline")
