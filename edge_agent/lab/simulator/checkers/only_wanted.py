"""Nobody works on what is not wanted any more."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import Event, PeerMessageReceived
from edge_agent.core.messages import ProposalRequest, RequestCancel
from edge_agent.core.states import ItemRole
from edge_agent.lab.simulator.checkers.base import Checker


class OnlyWanted(Checker):
    """A cancelled request is neither waiting nor running, unless it was asked for again after its cancel."""

    name = "nobody works on what is not wanted"

    def __init__(self) -> None:
        self._cancelled: dict[int, set[tuple[str, str]]] = {}

    def restarted(self, device: int) -> None:
        """Its queue is empty."""
        self._cancelled.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        if type(event) is not PeerMessageReceived:
            return
        message = event.message
        if type(message) is ProposalRequest:
            self._cancelled.get(device, set()).discard((message.origin, message.request_id))
        elif type(message) is RequestCancel:
            self._cancelled.setdefault(device, set()).add((message.origin, message.request_id))
            for item in (*agent.queue.waiting.values(), *agent.queue.running.values()):
                if item.role is ItemRole.PEER and (item.origin, item.owner_key) in self._cancelled[device]:
                    raise self.broken(f"d{device} still holds request {item.owner_key}, which {item.origin} cancelled")
