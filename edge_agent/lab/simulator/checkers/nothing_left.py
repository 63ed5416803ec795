"""At rest nothing is left: no session, request, item or place is held by anyone."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.lab.simulator.checkers.base import Checker


class NothingLeft(Checker):
    """Asks each agent what is still to end."""

    name = "nothing is left at rest"

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Looks at every device."""
        for device, agent in enumerate(agents):
            left = {kind: count for kind, count in agent.outstanding().items() if count} if agent is not None else {}
            if left:
                raise self.broken(f"d{device} still has {left}", liveness=True)
