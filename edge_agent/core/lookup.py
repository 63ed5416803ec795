"""What users ask about their own earlier prompts: how one ended, or which ended of late.

Answered from what the core keeps, which is what the journal keeps. Nothing is changed by it: an end that is owed stays
owed, whoever looked at it. What is not on disk yet is told as still running, since a restart might end it otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.core.context import Context
from edge_agent.core.effects import SendToUser
from edge_agent.core.events import AnswersQueryReceived, ReplyRoute
from edge_agent.core.messages import (
    BEGINNING_LENGTH_MAX,
    Answer,
    AnswersPage,
    AnswersQuery,
    AnswerSummary,
    PromptRefusal,
    RefusalReason,
    Standing,
)
from edge_agent.core.refusals import Refusals
from edge_agent.core.sessions import Sessions
from edge_agent.core.shares import ANYBODY
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, fit_answer, json_size

PAGE_BYTES_MAX = 32 * 1024  # of a page's lines: a hundred in most scripts; the rest comes on the next
LINE_OVERHEAD_BYTES = 192  # a line beside its texts: names and numbers
PAGE_OVERHEAD_BYTES = 1024  # a page beside its lines and its answer
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class _Known:
    """A prompt and how it stands, since `at`; it runs if there is neither an answer nor a refusal."""

    prompt_id: str
    client: str
    at: float
    answer: Answer | None = None
    refusal: PromptRefusal | None = None

    @property
    def runs(self) -> bool:
        return self.answer is None and self.refusal is None

    @property
    def place(self) -> str:
        """What a query says as `after` to go on behind it. A client's name holds no slash."""
        return f"{self.client}/{self.prompt_id}"


class Lookup:
    """Answers queries. Each costs a look at every end that is kept, thousands at most, and writes a page of text."""

    __slots__ = ("_context", "_refusals", "_sessions")

    def __init__(self, context: Context, sessions: Sessions, refusals: Refusals) -> None:
        self._context = context
        self._sessions = sessions
        self._refusals = refusals

    def query_received(self, event: AnswersQueryReceived, now: float) -> None:
        """Sends one page, or a refusal where the place to go on from is forgotten."""
        query, reply = event.query, event.reply
        known = [prompt for prompt in self._of(reply.principal, query.prompt_id, now) if _may_see(prompt, query, reply)]
        page = self._one(query, reply, known, now) if query.prompt_id else self._page(query, known, now)
        self._context.out.append(SendToUser(reply, page))

    def _one(self, query: AnswersQuery, reply: ReplyRoute, known: list[_Known], now: float) -> AnswersPage:
        """The prompt that was asked for: the asking client's own before another client's of the same id."""
        found = [prompt for prompt in known if prompt.prompt_id == query.prompt_id]
        if not found:
            gone = AnswerSummary(query.prompt_id, reply.client, Standing.GONE, 0.0, self._gone(now), 0)
            return self._make(query, (gone,), now)
        best = min(found, key=lambda prompt: prompt.client != reply.client)  # of several the newest: they come first
        page = self._make(query, (_summary(best, now),), now)
        if best.answer is None:
            return page
        room = self._context.message_bytes_max - PAGE_OVERHEAD_BYTES - _size(page.answers[0])
        return replace(page, answer=fit_answer(best.answer, self._context.settings.response_bytes_max, room))

    def _page(self, query: AnswersQuery, known: list[_Known], now: float) -> AnswersPage | PromptRefusal:
        """The lines behind the place that was named, as many as are wanted and fit."""
        if query.after:
            places = [prompt.place for prompt in known]
            if query.after not in places:
                return self._no_such_place(query.query_id)
            known = known[places.index(query.after) + 1 :]
        since = now - (_FOREVER if query.since_s is None else query.since_s)
        known = [prompt for prompt in known if prompt.runs or prompt.at >= since]
        room = min(PAGE_BYTES_MAX, self._context.message_bytes_max - MESSAGE_OVERHEAD_BYTES)
        lines: list[AnswerSummary] = []
        for prompt in known[: query.count_max]:
            line = _summary(prompt, now)
            room -= _size(line)
            if room < 0 and lines:  # one at least, or there would be no going on
                break
            lines.append(line)
        following = known[len(lines) - 1].place if len(lines) < len(known) else ""
        return replace(self._make(query, tuple(lines), now), next=following)

    def _make(self, query: AnswersQuery, lines: tuple[AnswerSummary, ...], now: float) -> AnswersPage:
        whole_s = self._sessions.ends.whole_s(now)
        return AnswersPage(query.query_id, self._context.identity.device_id, lines, whole_s=whole_s)

    def _gone(self, now: float) -> str:
        kept_s, whole_s = self._context.settings.answers_kept_s, self._sessions.ends.whole_s(now)
        return (
            f"no prompt of that id is known here: ends are kept for {kept_s:,.0f} s within a bound of bytes, "
            f"and those of the last {whole_s:,.0f} s are all here"
        )

    def _no_such_place(self, query_id: str) -> PromptRefusal:
        why = "after: that place is forgotten, and what is older most likely too; begin anew without it"
        return PromptRefusal(query_id, self._context.identity.device_id, RefusalReason.INVALID, why)

    def _of(self, principal: str, prompt_id: str, now: float) -> list[_Known]:
        """What is known of a user's prompts, or of those with one id: first what runs, then what is over, each the
        newest first."""
        known = [
            _Known(session.prompt.prompt_id, session.reply.client, session.accepted_at)
            for session in self._sessions.of(principal)
            if session.prompt.prompt_id == (prompt_id or session.prompt.prompt_id)
        ]
        for end in self._sessions.ends.of(principal, now):
            if prompt_id and end.answer.prompt_id != prompt_id:
                continue
            told = end.answer if end.is_written else None
            known.append(_Known(end.answer.prompt_id, end.reply.client, end.ended_at, told))
        known += [
            _Known(refused.refusal.prompt_id, refused.reply.client, refused.at, refusal=refused.refusal)
            for refused in self._refusals.of(principal)
            if refused.refusal.prompt_id == (prompt_id or refused.refusal.prompt_id)
        ]
        known.sort(key=lambda prompt: (prompt.runs, prompt.at), reverse=True)
        return known


def _may_see(prompt: _Known, query: AnswersQuery, reply: ReplyRoute) -> bool:
    """Whether a prompt of the same principal is for this client. Where nobody has a name, one must know its id."""
    if query.of_client and prompt.client != query.of_client:
        return False
    return bool(query.prompt_id) or reply.principal != ANYBODY or prompt.client == reply.client


def _summary(prompt: _Known, now: float) -> AnswerSummary:
    standing, text, text_bytes, partial = Standing.RUNNING, "", 0, False
    if prompt.answer is not None:
        standing, text = Standing(prompt.answer.outcome), prompt.answer.text or prompt.answer.detail
        text_bytes, partial = len(prompt.answer.text.encode()), prompt.answer.partial
    elif prompt.refusal is not None:
        standing, text = Standing.REFUSED, f"{prompt.refusal.reason}: {prompt.refusal.detail}"
    age_s, beginning = max(0.0, now - prompt.at), text[:BEGINNING_LENGTH_MAX]
    return AnswerSummary(prompt.prompt_id, prompt.client, standing, age_s, beginning, text_bytes, partial)


def _size(line: AnswerSummary) -> int:
    return LINE_OVERHEAD_BYTES + sum(map(json_size, (line.prompt_id, line.client, line.text)))
