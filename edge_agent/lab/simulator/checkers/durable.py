"""What a receipt calls durable survives a kill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, SendToUser
from edge_agent.core.events import Event, JournalRecord, RecordWritten, SessionsRestored
from edge_agent.core.messages import PromptReceipt
from edge_agent.lab.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, inbox, prompt id)."""


class Durable(Checker):
    """Compares what was promised with what a restart finds."""

    name = "a durable receipt holds"

    def __init__(self) -> None:
        self._promised: set[Key] = set()
        self._written: set[Key] = set()

    def excused(self, device: int) -> None:
        """A disk that is lost keeps no promise."""
        self._promised = {key for key in self._promised if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """Damage takes what was written well."""
        self.excused(device)

    def restarted(self, device: int) -> None:
        """What it will have on disk, it is about to find."""
        self._written = {key for key in self._written if key[0] != device}

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """A promise is made of what is on disk, and holds until the prompt has ended."""
        if type(event) is RecordWritten:
            key = (device, event.reply.inbox, event.prompt_id)
            if event.record is JournalRecord.PROMPT and not event.error:
                self._written.add(key)
            elif event.record is JournalRecord.ANSWER:
                self._promised.discard(key)
        elif type(event) is SessionsRestored:
            self._restored(device, event)
        for effect in effects:
            if type(effect) is SendToUser and type(effect.message) is PromptReceipt and effect.message.durable:
                key = (device, effect.reply.inbox, effect.message.prompt_id)
                if key not in self._written:
                    raise self.broken(f"d{device} calls prompt {key[2]} of {key[1]} durable, which is not on disk")
                self._promised.add(key)

    def _restored(self, device: int, event: SessionsRestored) -> None:
        found = {(device, session.reply.inbox, session.prompt.prompt_id) for session in event.sessions}
        self._written |= found
        found |= {(device, kept.reply.inbox, kept.answer.prompt_id) for kept in event.answers}
        for key in sorted(self._promised - found):
            if key[0] == device:
                raise self.broken(f"d{device} called prompt {key[2]} of {key[1]} durable and lost it")
