"""Sizes add up: no device makes a message that it knows nobody can be sent, and none is dropped unheard."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, SendToDevice
from edge_agent.core.events import Event, SendFailed
from edge_agent.core.messages import PeerMessage, ProposalRequest, ProposalResponse
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, chat_size
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

    def too_large(self, device: int, effect: SendToDevice, size: int, room: int | None) -> None:
        """A message over a limit, which its sender may not have known when it was made."""
        if room is not None and not _was_let_in_before(effect.message, room):
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


def _was_let_in_before(message: PeerMessage, room: int) -> bool:
    """Whether the chat alone is more than a device takes where messages have `room`: it was accepted at a broker with
    more, and there is nothing left to cut off."""
    if not isinstance(message, ProposalRequest) or any(message.references):
        return False
    return chat_size(message.messages) > room - MESSAGE_OVERHEAD_BYTES
