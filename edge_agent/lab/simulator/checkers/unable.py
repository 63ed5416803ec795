"""A device that cannot infer takes nothing on, and is not chosen by those who know."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalPrompt, SendToDevice, StartInference
from edge_agent.core.events import Event, HealthChanged
from edge_agent.core.health import Part
from edge_agent.core.messages import ProposalRequest, RequestReceipt
from edge_agent.lab.simulator.checkers.base import Checker


class Unable(Checker):
    """Knows from the engine's own word who cannot infer, and from each view who has been told so."""

    name = "who cannot infer is not asked"

    def __init__(self) -> None:
        self._unable: set[int] = set()
        self._asked: dict[int, set[str]] = {}
        self._known: dict[int, set[str]] = {}

    def restarted(self, device: int) -> None:
        """A new process loads the model anew, knows nobody and has asked nobody."""
        self._unable.discard(device)
        self._asked.pop(device, None)
        self._known.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        if type(event) is HealthChanged and event.part is Part.ENGINE:
            (self._unable.add if event.detail else self._unable.discard)(device)
        if effects:
            known, asked = self._known.get(device, set()), self._asked.setdefault(device, set())
            for effect in effects:
                if type(effect) is SendToDevice:
                    self._sent(device, effect, known, asked)
                elif device in self._unable and type(effect) in (JournalPrompt, StartInference):
                    raise self.broken(f"d{device} cannot infer, and takes on {effect}")
        # what an event brings counts from the next one on: that event's own choices were made meanwhile
        self._known[device] = {row.entry.device_id for row in agent.view.rows() if not row.entry.able}

    def _sent(self, device: int, effect: SendToDevice, known: set[str], asked: set[str]) -> None:
        message = effect.message
        if type(message) is ProposalRequest and message.request_id not in asked:
            asked.add(message.request_id)
            if effect.device_id in known:
                raise self.broken(f"d{device} asks {effect.device_id}, which it knows to be unable")
        elif type(message) is RequestReceipt and message.busy is None and device in self._unable:
            raise self.broken(f"d{device} cannot infer, and takes on request {message.request_id}")
