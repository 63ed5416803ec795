"""Who asks what became of prompts is told of their own, and of ends that no restart can change."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, SendToUser
from edge_agent.core.events import (
    AnswersQueryReceived,
    Event,
    JournalRecord,
    PromptReceived,
    RecordWritten,
    ReplyRoute,
    SessionsRestored,
)
from edge_agent.core.messages import Answer, AnswersPage, Standing
from edge_agent.lab.simulator.checkers.base import Checker, Key


class OwnAnswers(Checker):
    """Compares each page with what its reader asked before, and with what the journal has."""

    name = "a page holds its reader's own prompts, and ends as they are on disk"

    def __init__(self) -> None:
        self._asked: set[Key] = set()
        self._begun: dict[Key, Answer] = {}
        self._written: dict[Key, Answer] = {}
        self._dying: set[int] = set()

    def cut_short(self, device: int) -> None:
        """It may not come to answering."""
        self._dying.add(device)

    def restarted(self, device: int) -> None:
        """What it had written it is about to find."""
        self._dying.discard(device)
        for ends in (self._begun, self._written):
            for key in [key for key in ends if key[0] == device]:
                del ends[key]

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at each page."""
        if type(event) is PromptReceived:
            self._asked.add((device, event.reply.inbox, event.prompt.prompt_id))
        elif type(event) is RecordWritten and event.record is JournalRecord.ANSWER:
            key = (device, event.reply.inbox, event.prompt_id)
            if key in self._begun:
                self._written[key] = self._begun[key]
        elif type(event) is SessionsRestored:
            for kept in event.answers:
                self._written.setdefault((device, kept.reply.inbox, kept.answer.prompt_id), kept.answer)
        for effect in effects:
            if type(effect) is JournalAnswer:
                self._begun[device, effect.reply.inbox, effect.answer.prompt_id] = effect.answer
            elif type(effect) is SendToUser and type(effect.message) is AnswersPage:
                self._look(device, effect.reply, effect.message)
        if type(event) is not AnswersQueryReceived or device in self._dying:
            return
        if not any(type(effect) is SendToUser for effect in effects):
            raise self.broken(f"d{device} says nothing to query {event.query.query_id}")

    def _look(self, device: int, reader: ReplyRoute, page: AnswersPage) -> None:
        for line in page.answers:
            if line.standing is Standing.GONE:
                continue
            key = (device, f"{reader.principal}/{line.client}", line.prompt_id)
            if key not in self._asked:
                raise self.broken(f"d{device} tells {reader.inbox} of prompt {key[2]}, which {key[1]} never asked")
            if line.standing not in (Standing.RUNNING, Standing.REFUSED) and key not in self._written:
                raise self.broken(f"d{device} tells of the end of prompt {key[2]}, which is not on disk")
            if page.answer is not None and not _is_of(page.answer, self._written[key]):
                raise self.broken(f"d{device} tells {reader.inbox} another end of prompt {key[2]} than is on disk")


def _is_of(told: Answer, written: Answer) -> bool:
    """Whether one is the other, or its beginning."""
    return told.outcome is written.outcome and written.text.startswith(told.text)
