"""Once faults are over, every device knows every other as alive and takes nobody for alive who left."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.peers import PeerStatus
from edge_agent.lab.simulator.checkers.base import Checker


class ViewsConverge(Checker):
    """Compares views with the truth; where views are smaller than the mesh, only their rows are looked at."""

    name = "views converge"

    def __init__(self, view_size_max: int) -> None:
        self._view_size_max = view_size_max

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Looks at every device."""
        differing = self.difference(agents)
        if differing:
            raise self.broken(differing, liveness=True)

    def difference(self, agents: Sequence[Agent | None]) -> str:
        """Returns in words where a view differs from the truth, "" if none does."""
        up = {f"d{device}" for device, agent in enumerate(agents) if agent is not None}
        for device, agent in enumerate(agents):
            if agent is None:
                continue
            alive = {row.entry.device_id for row in agent.view.rows() if row.status is PeerStatus.ALIVE}
            gone = sorted(alive - up)
            if gone:
                return f"d{device} takes {', '.join(gone)} for alive, who left"
            unknown = sorted(up - alive - {f"d{device}"})
            if unknown and len(up) <= self._view_size_max:
                return f"d{device} does not know that {', '.join(unknown)} are alive"
        return ""
