"""What a receipt calls durable survives a kill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer
from edge_agent.core.events import Event, SessionsRestored
from edge_agent.core.messages import PromptReceipt
from edge_agent.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, reply topic, prompt id)."""


class Durable(Checker):
    """Compares what was promised with what a restart finds."""

    name = "a durable receipt holds"

    def __init__(self) -> None:
        self._promised: set[Key] = set()

    def excused(self, device: int) -> None:
        """A disk that is lost keeps no promise."""
        self._promised = {key for key in self._promised if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """Damage takes what was written well."""
        self.excused(device)

    def receipt_sent(self, device: int, topic: str, receipt: PromptReceipt) -> None:
        """A promise, unless it says that it is none."""
        if receipt.durable:
            self._promised.add((device, topic, receipt.prompt_id))

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """A promise holds until the prompt has ended."""
        if type(event) is SessionsRestored:
            found = {(device, session.reply.topic, session.prompt.prompt_id) for session in event.sessions}
            found |= {(device, kept.reply.topic, kept.answer.prompt_id) for kept in event.answers}
            for key in sorted(self._promised - found):
                if key[0] == device:
                    raise self.broken(f"d{device} called prompt {key[2]} of {key[1]} durable and lost it")
        for effect in effects:
            if type(effect) is JournalAnswer:
                self._promised.discard((device, effect.reply.topic, effect.answer.prompt_id))
