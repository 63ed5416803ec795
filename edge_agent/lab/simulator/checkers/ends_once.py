"""Every accepted prompt ends exactly once, and its user is notified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt, SendToUser
from edge_agent.core.events import Event, JournalRecord, RecordWritten, SessionsRestored
from edge_agent.core.messages import Answer, AnswersPage, PromptReceipt
from edge_agent.core.sizes import LEFT_OUT, without_records
from edge_agent.lab.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, inbox, prompt id)."""


class EndsOnce(Checker):
    """A prompt is accepted when its receipt is sent or it is to be journalled. Its end may be sent again, unchanged.

    What is not on disk when its device dies is forgotten: a prompt whose user has no receipt, or one that says so.
    """

    name = "every accepted prompt ends exactly once"

    def __init__(self) -> None:
        self._accepted: dict[Key, float] = {}
        self._receipted: set[Key] = set()
        self._ends: dict[Key, Answer] = {}
        self._told: set[Key] = set()
        self._unwritten: set[Key] = set()  # prompts that a restart knows nothing of
        self._unwritten_ends: set[Key] = set()
        self._writing: set[Key] = set()  # ends on which the journal's word is still to come
        self.excused_count = 0
        """Prompts whose user had a receipt, and of which nothing is asked any more."""

    @property
    def accepted(self) -> int:
        """How many prompts were accepted."""
        return len(self._accepted)

    @property
    def ended(self) -> int:
        """How many of them ended."""
        return len(self._ends)

    @property
    def told_count(self) -> int:
        """How many ends reached their users."""
        return len(self._told & self._ends.keys())

    def told(self, device: int, inbox: str, answer: Answer) -> None:
        """An answer has reached its user."""
        self._told.add((device, inbox, answer.prompt_id))

    def excused(self, device: int) -> None:
        """Nothing is asked any more of what the device had accepted; a prompt that is sent again is a new one."""
        self._forget({key for key in self._accepted if key[0] == device})

    def restarted(self, device: int) -> None:
        """What was not on disk is forgotten: prompts, and ends, which may come again and be others."""
        self._forget({key for key in self._unwritten if key[0] == device})
        for key in [key for key in self._unwritten_ends if key[0] == device]:
            self._unwritten_ends.discard(key)
            self._writing.discard(key)
            self._ends.pop(key, None)
            self._told.discard(key)

    def journal_damaged(self, device: int) -> None:
        """What was accepted until now lives in memory only."""
        self._unwritten |= {key for key in self._accepted if key[0] == device}

    def begun_anew(self, device: int, inbox: str, prompt_id: str) -> None:
        """It ends once more."""
        self._ends.pop((device, inbox, prompt_id), None)
        self._told.discard((device, inbox, prompt_id))

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Counts acceptances and ends."""
        if type(event) is SessionsRestored:
            self._restored(device, event, now)
        elif type(event) is RecordWritten:
            self._written((device, event.reply.inbox, event.prompt_id), event)
        for effect in effects:
            if type(effect) is JournalPrompt:
                key = (device, effect.reply.inbox, effect.prompt.prompt_id)
                self._accepted.setdefault(key, now)
                self._unwritten.add(key)
            elif type(effect) is JournalAnswer:
                self._ended((device, effect.reply.inbox, effect.answer.prompt_id), effect.answer)
            elif type(effect) is SendToUser and not isinstance(effect.message, AnswersPage):
                key = (device, effect.reply.inbox, effect.message.prompt_id)
                if type(effect.message) is PromptReceipt:
                    self._accepted.setdefault(key, now)
                    self._receipted.add(key)
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

    def _restored(self, device: int, event: SessionsRestored, now: float) -> None:
        for session in event.sessions:
            self._accepted.setdefault((device, session.reply.inbox, session.prompt.prompt_id), now)
        for kept in event.answers:
            key = (device, kept.reply.inbox, kept.answer.prompt_id)
            self._accepted.setdefault(key, now)
            self._ends.setdefault(key, kept.answer)
            if kept.delivered:
                self._told.add(key)

    def _written(self, key: Key, event: RecordWritten) -> None:
        if event.record is JournalRecord.ANSWER:
            self._writing.discard(key)
            if not event.error:
                self._unwritten_ends.discard(key)
                self._unwritten.discard(key)
        elif not event.error:
            self._unwritten.discard(key)

    def _ended(self, key: Key, answer: Answer) -> None:
        if self._ends.get(key) == answer:
            return  # a disk that refused it is well again, and is given it anew
        if key in self._ends and is_cut_of(answer, self._ends[key]):
            self._ends[key] = answer
            self._writing.add(key)
            return
        if key in self._ends:
            raise self.broken(f"prompt {key[2]} ended twice at d{key[0]}: {self._ends[key].outcome}, {answer.outcome}")
        if key not in self._accepted:
            raise self.broken(f"prompt {key[2]} ended at d{key[0]} without having been accepted")
        self._ends[key] = answer
        self._writing.add(key)
        self._unwritten_ends.add(key)

    def _sent(self, key: Key, answer: Answer) -> None:
        if key not in self._ends or key in self._writing:
            raise self.broken(f"the answer of prompt {key[2]} was sent by d{key[0]} before it was journalled")
        if self._ends[key] != answer:
            raise self.broken(f"prompt {key[2]} was answered in two ways by d{key[0]}")

    def _forget(self, keys: set[Key]) -> None:
        self.excused_count += len(keys & self._receipted)
        for key in keys:
            self._accepted.pop(key, None)
            self._ends.pop(key, None)
        for kept in (self._receipted, self._told, self._unwritten, self._unwritten_ends, self._writing):
            kept -= keys


def is_cut_of(answer: Answer, known: Answer) -> bool:
    """Whether an end is the known one with less text or without its records: too large for another broker."""
    if len(answer.text) > len(known.text):
        return False
    if answer.provenance == known.provenance:
        return replace(known, text=answer.text) == answer
    bare = replace(known, text=answer.text, detail=answer.detail, provenance=without_records(known.provenance))
    return bare == answer and answer.detail.startswith(known.detail) and LEFT_OUT in answer.detail
