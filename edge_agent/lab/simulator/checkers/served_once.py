"""No item is served twice: a request that is repeated is worked on once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, StartInference
from edge_agent.core.events import Event, InferenceCompleted
from edge_agent.core.states import ItemRole
from edge_agent.lab.simulator.checkers.base import Checker

Request: TypeAlias = tuple[str, str]
"""(origin, request id)."""


class ServedOnce(Checker):
    """Counts completed inferences of each request, over one life of a device: a restarted one remembers nothing."""

    name = "no item is served twice"

    def __init__(self) -> None:
        self._running: dict[tuple[int, str], Request] = {}
        self._served: dict[int, set[Request]] = {}

    def restarted(self, device: int) -> None:
        """It remembers nothing."""
        self._served.pop(device, None)
        self._running = {key: request for key, request in self._running.items() if key[0] != device}

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        if type(event) is InferenceCompleted:
            request = self._running.pop((device, event.item_id), None)
            if request is not None:
                served = self._served.setdefault(device, set())
                if request in served:
                    raise self.broken(f"d{device} served request {request[1]} of {request[0]} twice")
                served.add(request)
        for effect in effects:
            if type(effect) is StartInference:
                item = agent.queue.running.get(effect.item_id)
                if item is not None and item.role is ItemRole.PEER:
                    self._running[device, effect.item_id] = (item.origin, item.owner_key)
