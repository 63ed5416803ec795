"""What users ask about their own earlier prompts: how one ended, or which ended of late.

Answered from what the core keeps, which is what the journal keeps. Nothing is changed by it: an end that is owed stays
owed, whoever looked at it. What is not on disk yet is told as still running, since a restart might end it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import merge

from edge_agent.core.context import Context
from edge_agent.core.cursor import Cursor, Place, read_cursor
from edge_agent.core.effects import SendToUser
from edge_agent.core.ends import Ends
from edge_agent.core.events import AnswersQueryReceived, ReplyRoute
from edge_agent.core.kept import End
from edge_agent.core.membership import Membership
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
from edge_agent.core.refusals import Refusals, Refused
from edge_agent.core.session import Session
from edge_agent.core.sessions import Sessions
from edge_agent.core.shares import ANYBODY
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, fit_answer, json_size

PAGE_BYTES_MAX = 32 * 1024  # of a page's lines: a hundred in most scripts; the rest comes on the next
LINE_OVERHEAD_BYTES = 192  # a line beside its texts: names and numbers
PAGE_OVERHEAD_BYTES = 1024  # a page beside its lines and its answer
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class _Known:
    """A prompt and how it stands, since `at`; it runs if there is neither an answer nor a refusal.

    place: where it stands on a list.
    """

    prompt_id: str
    client: str
    at: float
    place: Place
    answer: Answer | None = None
    refusal: PromptRefusal | None = None

    @property
    def runs(self) -> bool:
        return self.answer is None and self.refusal is None


class Lookup:
    """Answers queries. A list costs a look at as many of the asking user's newest ends as are on its page, one prompt
    a look at those of its id."""

    __slots__ = ("_context", "_ends", "_membership", "_refusals", "_sessions")

    def __init__(
        self, context: Context, membership: Membership, sessions: Sessions, ends: Ends, refusals: Refusals
    ) -> None:
        self._context = context
        self._membership = membership
        self._sessions = sessions
        self._ends = ends
        self._refusals = refusals

    def query_received(self, event: AnswersQueryReceived, now: float) -> None:
        """Sends one page, or a refusal where the place to go on from means nothing here."""
        query, reply = event.query, event.reply
        self._ends.forget_old(now)
        page = self._one(query, reply, now) if query.prompt_id else self._page(query, reply, now)
        self._context.out.append(SendToUser(reply, page))

    def _one(self, query: AnswersQuery, reply: ReplyRoute, now: float) -> AnswersPage:
        """The prompt that was asked for: the asking client's own before another client's of the same id."""
        whole_s = self._ends.whole_s(reply.holder, now, of_crowd=reply.principal == ANYBODY)
        found = [
            prompt
            for prompt in self._of_id(reply.principal, query.prompt_id, now)
            if query.of_client in ("", prompt.client)
        ]
        if not found:
            gone = AnswerSummary(query.prompt_id, reply.client, Standing.GONE, 0.0, self._gone(whole_s), 0)
            return self._make(query, (gone,), whole_s)
        best = max(found, key=lambda prompt: (prompt.client == reply.client, prompt.runs, prompt.at))
        page = self._make(query, (_summary(best, now),), whole_s)
        if best.answer is None:
            return page
        room = self._context.message_bytes_max - PAGE_OVERHEAD_BYTES - _size(page.answers[0])
        return replace(page, answer=fit_answer(best.answer, self._context.settings.response_bytes_max, room))

    def _page(self, query: AnswersQuery, reply: ReplyRoute, now: float) -> AnswersPage | PromptRefusal:
        """The lines behind the place that was named, as many as are wanted and fit."""
        cursor = read_cursor(query.after, self._membership.run, now)
        if cursor is None:
            return self._no_such_place(query.query_id)
        since = cursor.began - (_FOREVER if query.since_s is None else query.since_s)
        room = min(PAGE_BYTES_MAX, self._context.message_bytes_max - MESSAGE_OVERHEAD_BYTES)
        lines: list[AnswerSummary] = []
        following = ""
        last = cursor
        for prompt in self._listed(reply.holder, cursor, now):
            if not prompt.place[0] and prompt.at < since:  # and so are all that follow
                break
            if query.of_client not in ("", prompt.client):
                continue
            line = _summary(prompt, now)
            room -= _size(line)
            if len(lines) == query.count_max or (room < 0 and lines):  # one at least, or there would be no going on
                following = last.written(self._membership.run)
                break
            lines.append(line)
            last = Cursor(cursor.began, prompt.place)
        whole_s = self._ends.whole_s(reply.holder, now)
        return replace(self._make(query, tuple(lines), whole_s), next=following)

    def _make(self, query: AnswersQuery, lines: tuple[AnswerSummary, ...], whole_s: float) -> AnswersPage:
        return AnswersPage(query.query_id, self._context.identity.device_id, lines, whole_s=whole_s)

    def _gone(self, whole_s: float) -> str:
        return (
            f"no prompt with that id is known here: ends are kept for {self._context.settings.answers_kept_s:,.0f} s "
            f"within a bound of bytes, and those of the last {whole_s:,.0f} s are all here"
        )

    def _no_such_place(self, query_id: str) -> PromptRefusal:
        why = "after: not a page mark of this device since its start; start again without it"
        return PromptRefusal(query_id, self._context.identity.device_id, RefusalReason.INVALID, why)

    def _of_id(self, principal: str, prompt_id: str, now: float) -> Iterator[_Known]:
        """What is known of a user's prompts of one id. Where nobody has a name, whoever knows it may see it."""
        for session in self._sessions.of(principal):
            if session.prompt.prompt_id == prompt_id:
                yield _running(session)
        for end in self._ends.of_id(principal, prompt_id, now):
            yield _ended(end, now)
        for refused in self._refusals.of(principal):
            if refused.refusal.prompt_id == prompt_id:
                yield _refused(refused, now)

    def _listed(self, holder: str, cursor: Cursor, now: float) -> Iterator[_Known]:
        """What stands behind the cursor: first what ran when the list began, then what was over, each newest first."""
        began, behind = cursor.began, cursor.behind
        if behind is None or behind[0]:
            ran = [prompt for prompt in self._ran(holder, began, now) if behind is None or prompt.place < behind]
            yield from sorted(ran, key=_place, reverse=True)
        start = (began,) if behind is None or behind[0] else behind[1:]
        ends = (_ended(end, began) for end in self._ends.newest(holder, now, start))
        refused = [_refused(one, began) for one in self._refusals_of(holder) if (one.at, *_whose(one)) < start]
        yield from merge(ends, sorted(refused, key=_place, reverse=True), key=_place, reverse=True)

    def _ran(self, holder: str, began: float, now: float) -> Iterator[_Known]:
        """What ran when a list began, and may have ended since. What was refused in that very moment counts with it."""
        for session in self._sessions.of(holder.partition("/")[0]):
            if session.reply.holder == holder and session.accepted_at <= began:
                yield _running(session)
        for end in self._ends.newest(holder, now):
            if end.ended_at < began:
                break
            if end.accepted_at <= began:
                yield _ended(end, began)
        for one in self._refusals_of(holder):
            if one.at == began:
                yield _refused(one, began)

    def _refusals_of(self, holder: str) -> Iterator[Refused]:
        return (one for one in self._refusals.of(holder.partition("/")[0]) if one.reply.holder == holder)


def _running(session: Session) -> _Known:
    prompt_id, client = session.prompt.prompt_id, session.reply.client
    return _Known(prompt_id, client, session.accepted_at, (True, session.accepted_at, client, prompt_id))


def _ended(end: End, began: float) -> _Known:
    prompt_id, client, ran = end.answer.prompt_id, end.reply.client, end.ended_at >= began
    place = (ran, end.accepted_at if ran else end.ended_at, client, prompt_id)
    return _Known(prompt_id, client, end.ended_at, place, answer=end.answer if end.is_written else None)


def _refused(refused: Refused, began: float) -> _Known:
    prompt_id, client = refused.refusal.prompt_id, refused.reply.client
    place = (refused.at >= began, refused.at, client, prompt_id)
    return _Known(prompt_id, client, refused.at, place, refusal=refused.refusal)


def _whose(refused: Refused) -> tuple[str, str]:
    return (refused.reply.client, refused.refusal.prompt_id)


def _place(prompt: _Known) -> Place:
    return prompt.place


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
