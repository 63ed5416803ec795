"""What the core promises of itself, asked of it after every event."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import Event
from edge_agent.lab.simulator.checkers.base import Checker


class Invariants(Checker):
    """Calls `Agent.check_invariants`."""

    name = "the core's own invariants"

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        try:
            agent.check_invariants(now)
        except InvariantError as error:
            raise self.broken(f"d{device}: {error}") from None
