"""Nobody works for a device that is gone."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import Event
from edge_agent.core.states import ItemRole
from edge_agent.lab.simulator.checkers.base import Checker


class LostOrigins(Checker):
    """When a device leaves another's view, for dead or stopped, nothing of it may be left there."""

    name = "nobody works for a device that is gone"

    def __init__(self) -> None:
        self._known: dict[int, set[str]] = {}

    def restarted(self, device: int) -> None:
        """It knows nobody."""
        self._known.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        known = self._known.setdefault(device, set())
        if len(known) == agent.view.size and not agent.queue.running:
            return
        rows = {row.entry.device_id for row in agent.view.rows()}
        gone = known - rows
        self._known[device] = rows
        if gone:
            for item in (*agent.queue.running.values(), *agent.queue.waiting.values()):
                if item.role is ItemRole.PEER and item.origin in gone:
                    raise self.broken(f"d{device} still holds an item of {item.origin}, which it takes for gone")
