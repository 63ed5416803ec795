"""Sizes add up: no device makes a message that it knows nobody can be sent, and none is dropped unheard."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, SendToDevice
from edge_agent.core.events import Event, SendFailed
from edge_agent.core.messages import ProposalRequest, ProposalResponse
from edge_agent.lab.simulator.checkers.base import Checker


class Sizes(Checker):
    """A message over a limit must be over soon: its sender is told, and knows that its peer is not silent."""

    name = "no message is dropped unheard for its size"

    def __init__(self) -> None:
        self._refused: dict[tuple[int, str, str], int] = {}
        self._told: set[tuple[int, str, str]] = set()

    def restarted(self, device: int) -> None:
        """It wants nothing of before any more."""
        self._told = {key for key in self._told if key[0] != device}
        self._refused = {key: size for key, size in self._refused.items() if key[0] != device}

    def too_large(self, device: int, effect: SendToDevice, size: int, *, limit_known: bool) -> None:
        """A message over a limit, which its sender may not have known when it was made."""
        if limit_known:
            raise self.broken(
                f"d{device} makes a message of {size} bytes for {effect.device_id}: nobody can be sent that"
            )
        if isinstance(effect.message, ProposalRequest | ProposalResponse):
            key = (device, effect.device_id, effect.message.request_id)
            if key in self._told:
                raise self.broken(f"d{device} was told that {key[2]} is too large for {key[1]}, and sends it again")
            self._refused[key] = size

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """What was refused must not be waited for."""
        if type(event) is SendFailed:
            key = (device, event.device_id, event.message_id)
            if self._refused.pop(key, None) is not None:
                self._told.add(key)

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Everything refused was told."""
        for (device, receiver, request_id), size in self._refused.items():
            raise self.broken(f"d{device} never learnt that {size} bytes for {receiver} ({request_id}) were refused")
