"""What is owed to users reaches them before it counts as delivered, and nothing stays owed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import Event, JournalRecord, RecordWritten, SessionsRestored
from edge_agent.core.messages import Answer
from edge_agent.lab.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, inbox, prompt id)."""


class Owed(Checker):
    """Follows each end from its journalling to the broker's word, over restarts."""

    name = "nothing stays owed"

    def __init__(self) -> None:
        self._owed: set[Key] = set()
        self._told: set[Key] = set()
        self._delivered: set[Key] = set()
        self._unkept: set[Key] = set()

    def excused(self, device: int) -> None:
        """It owes nothing any more."""
        self._owed = {key for key in self._owed if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """A restart knows nothing of what is owed by now."""
        self._unkept |= {key for key in self._owed if key[0] == device}

    def restarted(self, device: int) -> None:
        """What could not be written is forgotten."""
        self._delivered = {key for key in self._delivered if key[0] != device}
        gone = {key for key in self._unkept if key[0] == device}
        self._owed -= gone
        self._unkept -= gone

    def begun_anew(self, device: int, inbox: str, prompt_id: str) -> None:
        """Its next end is owed, too."""
        self._told.discard((device, inbox, prompt_id))
        self._delivered.discard((device, inbox, prompt_id))

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks for ends that are written, or were."""
        if type(event) is RecordWritten and event.record is JournalRecord.ANSWER:
            key = (device, event.reply.inbox, event.prompt_id)
            if key not in self._delivered:  # else a disk that refused it is given it anew
                self._owed.add(key)
            if event.error:
                self._unkept.add(key)
            else:
                self._unkept.discard(key)
        elif type(event) is SessionsRestored:
            for kept in event.answers:
                if not kept.delivered:
                    self._owed.add((device, kept.reply.inbox, kept.answer.prompt_id))

    def told(self, device: int, inbox: str, answer: Answer) -> None:
        """An end has reached its user."""
        self._told.add((device, inbox, answer.prompt_id))

    def delivered(self, device: int, inbox: str, prompt_id: str) -> None:
        """The device takes an end for delivered."""
        key = (device, inbox, prompt_id)
        if key not in self._told:
            raise self.broken(f"d{device} takes the end of prompt {prompt_id} for delivered, which nobody heard")
        self._owed.discard(key)
        self._delivered.add(key)

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Everything has been delivered."""
        for device, inbox, prompt_id in sorted(self._owed):
            if agents[device] is not None:
                raise self.broken(f"d{device} still owes {inbox} the end of prompt {prompt_id}", liveness=True)
