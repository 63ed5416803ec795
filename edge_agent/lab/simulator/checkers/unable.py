"""A device that cannot infer takes nothing on, and is not chosen by those who know."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalPrompt, SendToDevice, StartInference
from edge_agent.core.events import Event, HealthChanged, PromptReceived
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
        known = {row.entry.device_id for row in agent.view.rows() if not row.entry.able}
        if effects:
            # who was unable before and is still: what an event brings, of either kind, its own choices may know or not
            unable, asked = self._known.get(device, set()) & known, self._asked.setdefault(device, set())
            for effect in effects:
                if type(effect) is SendToDevice:
                    self._sent(device, effect, unable, asked)
                elif device in self._unable and _takes_on(event, effect):
                    raise self.broken(f"d{device} cannot infer, and takes on {effect}")
        self._known[device] = known

    def _sent(self, device: int, effect: SendToDevice, unable: set[str], asked: set[str]) -> None:
        message = effect.message
        if type(message) is ProposalRequest and message.request_id not in asked:
            asked.add(message.request_id)
            if effect.device_id in unable:
                raise self.broken(f"d{device} asks {effect.device_id}, which it knows to be unable")
        elif type(message) is RequestReceipt and message.busy is None and device in self._unable:
            raise self.broken(f"d{device} cannot infer, and takes on request {message.request_id}")


def _takes_on(event: Event, effect: Effect) -> bool:
    """A prompt of before is journalled, too: once its disk takes it again."""
    return type(effect) is StartInference or (type(effect) is JournalPrompt and type(event) is PromptReceived)
