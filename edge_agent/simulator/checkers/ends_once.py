"""Every accepted prompt ends exactly once, and its user is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt, SendToUser
from edge_agent.core.events import Event, SessionsRestored
from edge_agent.core.messages import Answer, PromptReceipt
from edge_agent.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, reply topic, prompt id)."""


class EndsOnce(Checker):
    """A prompt is accepted when its receipt is sent or it is journalled. Its end may be sent again, unchanged."""

    name = "every accepted prompt ends exactly once"

    def __init__(self) -> None:
        self._accepted: dict[Key, float] = {}
        self._ends: dict[Key, Answer] = {}
        self._told: set[Key] = set()
        self._unkept: set[Key] = set()  # what only the memory of its device knows: a restart forgets it
        self._unkept_ends: set[Key] = set()
        self.excused_count = 0
        """Accepted prompts of which nothing is asked any more."""

    @property
    def ended(self) -> int:
        """How many of them ended."""
        return len(self._ends)

    @property
    def told_count(self) -> int:
        """How many ends reached their users."""
        return len(self._told & self._ends.keys())

    @property
    def accepted(self) -> int:
        """How many prompts were accepted."""
        return len(self._accepted)

    def told(self, device: int, topic: str, answer: Answer) -> None:
        """An answer has reached its user."""
        self._told.add((device, topic, answer.prompt_id))

    def excused(self, device: int) -> None:
        """Nothing is asked any more of what the device had accepted; a prompt that is sent again is a new one."""
        self._forget({key for key in self._accepted if key[0] == device})

    def restarted(self, device: int) -> None:
        """What was said not to be durable is lost; an end that was not written may come again, and be another."""
        self._forget({key for key in self._unkept if key[0] == device})
        for key in [key for key in self._unkept_ends if key[0] == device]:
            self._unkept_ends.discard(key)
            self._ends.pop(key, None)
            self._told.discard(key)

    def journal_damaged(self, device: int) -> None:
        """What was accepted until now lives in memory only."""
        self._unkept |= {key for key in self._accepted if key[0] == device}

    def prompt_not_kept(self, device: int, topic: str, prompt_id: str) -> None:
        """A restart may know nothing of it; whether its user was told so is another's to watch."""
        self._unkept.add((device, topic, prompt_id))

    def end_not_kept(self, device: int, topic: str, prompt_id: str) -> None:
        """A restart begins this prompt anew, or knows nothing of it."""
        self._unkept_ends.add((device, topic, prompt_id))

    def receipt_sent(self, device: int, topic: str, receipt: PromptReceipt) -> None:
        """A receipt may say that a restart would lose the prompt."""
        if not receipt.durable:
            self._unkept.add((device, topic, receipt.prompt_id))

    def _forget(self, keys: set[Key]) -> None:
        self.excused_count += len(keys & self._accepted.keys())
        for key in keys:
            self._accepted.pop(key, None)
            self._ends.pop(key, None)
            self._told.discard(key)
        self._unkept -= keys
        self._unkept_ends -= keys

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Counts acceptances and ends."""
        if type(event) is SessionsRestored:
            for session in event.sessions:
                self._accepted.setdefault((device, session.reply.topic, session.prompt.prompt_id), now)
            for kept in event.answers:
                key = (device, kept.reply.topic, kept.answer.prompt_id)
                self._accepted.setdefault(key, now)
                self._ends.setdefault(key, kept.answer)
                if kept.delivered:
                    self._told.add(key)
        for effect in effects:
            if type(effect) is JournalPrompt:
                self._accepted.setdefault((device, effect.reply.topic, effect.prompt.prompt_id), now)
            elif type(effect) is JournalAnswer:
                self._ended((device, effect.reply.topic, effect.answer.prompt_id), effect.answer)
            elif type(effect) is SendToUser:
                key = (device, effect.reply.topic, effect.message.prompt_id)
                if type(effect.message) is PromptReceipt:
                    self._accepted.setdefault(key, now)
                elif type(effect.message) is Answer:
                    self._sent(key, effect.message)

    def at_rest(self, now: float, agents: Sequence[Agent | None]) -> None:
        """Nothing accepted may be without an end, and no end untold."""
        for key, accepted_at in self._accepted.items():
            if key not in self._ends:
                detail = f"prompt {key[2]} of {key[1]}, accepted by d{key[0]} at {accepted_at:.3f}, never ended"
                raise self.broken(detail, liveness=True)
            if key not in self._told:
                raise self.broken(f"the end of prompt {key[2]} at d{key[0]} never reached its user", liveness=True)

    def _ended(self, key: Key, answer: Answer) -> None:
        if key in self._ends:
            raise self.broken(f"prompt {key[2]} ended twice at d{key[0]}: {self._ends[key].outcome}, {answer.outcome}")
        if key not in self._accepted:
            raise self.broken(f"prompt {key[2]} ended at d{key[0]} without having been accepted")
        self._ends[key] = answer
        if key not in self._unkept_ends:
            self._unkept.discard(key)  # its end is on disk

    def _sent(self, key: Key, answer: Answer) -> None:
        if key not in self._ends:
            raise self.broken(f"the answer of prompt {key[2]} was sent by d{key[0]} before it was journalled")
        if self._ends[key] != answer:
            raise self.broken(f"prompt {key[2]} was answered in two ways by d{key[0]}")
