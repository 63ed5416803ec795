"""Of two devices with one id, the one that started later knows it, and does not throw the other out again and again."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import ConnectionChanged, Event, OwnPresenceReceived, StopRequested
from edge_agent.lab.simulator.checkers.base import Checker

_SURE = 2  # connections in which another's word stood where its own had stood
_AWAY_S = 60.0


class Twins(Checker):
    """Counts what each device has read of another run of itself, as anybody could."""

    name = "twins leave each other alone"

    def __init__(self) -> None:
        self._connections: dict[int, int] = {}
        self._found: dict[int, set[int]] = {}
        self._sure_at: dict[int, float] = {}

    def restarted(self, device: int) -> None:
        """A new process has read nothing yet."""
        for kept in (self._connections, self._found, self._sure_at):
            kept.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        if type(event) is ConnectionChanged and event.connected:
            self._connections[device] = self._connections.get(device, 0) + 1
        elif type(event) is StopRequested:
            self.restarted(device)
        elif type(event) is OwnPresenceReceived and self._connections.get(device, 0) > 1:
            own, other = agent.last_will().run, event.presence.run
            if _started(other) < _started(own):
                found = self._found.setdefault(device, set())
                found.add(self._connections[device])
                if len(found) >= _SURE:
                    self._sure_at[device] = now
                    found.clear()  # once it is back, the other may have gone

    def taken_over(self, device: int, now: float) -> None:
        """A device has taken over its twin's session."""
        since = self._sure_at.get(device)
        if since is not None and now - since < _AWAY_S:
            raise self.broken(f"d{device} knows that it came later, and throws its twin out {now - since:.1f} s after")


def _started(run: str) -> tuple[int, str]:
    return int(run.partition("-")[0] or 0), run
