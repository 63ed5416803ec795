"""What the journal keeps, as plain blocking calls on one SQLite connection. All of it runs in the journal's thread.

A prompt is known by its id **and** its reply topic, which names its user: two users who chose the same id have two
prompts, and neither is sent the other's answer.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from edge_agent.adapters.journal.database import transaction
from edge_agent.adapters.journal.moment import Moment
from edge_agent.core.events import ReplyRoute, RestoredAnswer, RestoredSession, SessionsRestored
from edge_agent.core.messages import DEADLINE_MAX_S, Answer, Contribution, Prompt

log = logging.getLogger(__name__)

UNDELIVERED_KEPT_S = DEADLINE_MAX_S  # as long as any prompt may take, a user may still be waiting for its end
FREE_PAGES_MAX = 256  # 1 MiB of deleted text before the file is made smaller, which costs a write of its own

Responses = tuple[tuple[str, Contribution], ...]
_T = TypeVar("_T")

_PROMPT = TypeAdapter(Prompt)
_REPLY = TypeAdapter(ReplyRoute)
_ANSWER = TypeAdapter(Answer)
_RESPONSES: TypeAdapter[Responses] = TypeAdapter(Responses)


class Store:
    """The journal's content. Each method is one transaction: on disk when it returns."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        answers_kept_s: float,
        answers_kept_max: int,
        now: Callable[[], Moment],
    ) -> None:
        self._db = connection
        self._answers_kept_s = answers_kept_s
        self._answers_kept_max = answers_kept_max
        self._now = now

    def restore(self) -> SessionsRestored:
        """Returns what is kept and counts this start as a restart of each unfinished prompt."""
        now = self._now()
        with transaction(self._db):
            self._prune(now)
            self._db.execute("UPDATE prompts SET restarts = restarts + 1")
            for (number,) in self._db.execute("SELECT number FROM prompts").fetchall():
                self._count_time(number, now)
            sessions = self._read_each("prompts", self._read_session)
            answers = self._read_each("answers", self._read_answer)
        self._give_back_space(0)
        return SessionsRestored(sessions, answers)

    def next_incarnation(self) -> int:
        """Returns a number higher than any before, and than those of a lost journal if the clock went on since."""
        with transaction(self._db):
            row = self._db.execute("SELECT value FROM counters WHERE name = 'incarnation'").fetchone()
            incarnation = max(int(row[0]) + 1 if row else 1, int(self._now().wall_s))
            self._db.execute("INSERT OR REPLACE INTO counters VALUES ('incarnation', ?)", (incarnation,))
        return incarnation

    def record_prompt(self, prompt: Prompt, reply: ReplyRoute, deadline_in_s: float | None) -> None:
        """Keeps an accepted prompt; one that is under way already stays as it is."""
        now = self._now()
        key = (prompt.prompt_id, reply.topic)
        with transaction(self._db):
            # the agent asks this only of a prompt whose end it no longer remembers: it begins anew
            self._db.execute("DELETE FROM answers WHERE prompt_id = ? AND reply_topic = ?", key)
            self._db.execute(
                "INSERT INTO prompts (prompt_id, reply_topic, reply, prompt, deadline_in_s, elapsed_s, restarts,"
                " wall_s, boot_id, since_boot_s) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)"
                " ON CONFLICT (prompt_id, reply_topic) DO NOTHING",
                (*key, _to_json(_REPLY, reply), _to_json(_PROMPT, prompt), deadline_in_s, *_columns(now)),
            )

    def record_layer(self, prompt_id: str, reply: ReplyRoute, layer: int, responses: Responses) -> None:
        """Keeps the responses of a joined layer; of a prompt that is not known, nothing."""
        with transaction(self._db):
            row = self._db.execute(
                "SELECT number FROM prompts WHERE prompt_id = ? AND reply_topic = ?", (prompt_id, reply.topic)
            ).fetchone()
            if row is None:
                log.warning("layer %d of prompt %r is not journalled: the prompt is not", layer, prompt_id)
                return
            self._count_time(row[0], self._now())
            self._db.execute(
                "INSERT OR REPLACE INTO layers VALUES (?, ?, ?)", (row[0], layer, _to_json(_RESPONSES, responses))
            )

    def record_answer(self, answer: Answer, reply: ReplyRoute) -> None:
        """Keeps the end of a prompt, undelivered, in the place of the prompt and its layers. The first end stays."""
        now = self._now()
        key = (answer.prompt_id, reply.topic)
        with transaction(self._db):
            self._db.execute("DELETE FROM prompts WHERE prompt_id = ? AND reply_topic = ?", key)
            self._db.execute(
                "INSERT INTO answers (prompt_id, reply_topic, reply, answer, delivered, wall_s, boot_id, since_boot_s)"
                " VALUES (?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (prompt_id, reply_topic) DO NOTHING",
                (*key, _to_json(_REPLY, reply), _to_json(_ANSWER, answer), *_columns(now)),
            )
            self._prune(now)
        self._give_back_space(FREE_PAGES_MAX)

    def mark_delivered(self, prompt_id: str, reply: ReplyRoute) -> None:
        """Notes that an answer has reached the broker; of an answer no longer kept, nothing."""
        with transaction(self._db):
            self._db.execute(
                "UPDATE answers SET delivered = 1 WHERE prompt_id = ? AND reply_topic = ?", (prompt_id, reply.topic)
            )

    def _count_time(self, number: int, now: Moment) -> None:
        """Adds the time since the prompt's last note, so that a later jump of the clock cannot take it back."""
        row = self._db.execute(
            "SELECT elapsed_s, deadline_in_s, wall_s, boot_id, since_boot_s FROM prompts WHERE number = ?", (number,)
        ).fetchone()
        elapsed_s, deadline_in_s, *noted = row
        longest_s = DEADLINE_MAX_S if deadline_in_s is None else deadline_in_s
        elapsed_s = min(elapsed_s + now.seconds_since(Moment(*noted)), longest_s)
        self._db.execute(
            "UPDATE prompts SET elapsed_s = ?, wall_s = ?, boot_id = ?, since_boot_s = ? WHERE number = ?",
            (elapsed_s, *_columns(now), number),
        )

    def _prune(self, now: Moment) -> None:
        """Drops answers past their time, then, over the bound, delivered ones first, the oldest first."""
        rows = self._db.execute(
            "SELECT number, delivered, wall_s, boot_id, since_boot_s FROM answers ORDER BY delivered DESC, number"
        ).fetchall()
        kept: list[int] = []
        gone: list[int] = []
        for number, delivered, *noted in rows:
            kept_s = self._answers_kept_s if delivered else max(self._answers_kept_s, UNDELIVERED_KEPT_S)
            (kept if now.seconds_since(Moment(*noted)) <= kept_s else gone).append(number)
        gone += kept[: max(0, len(kept) - self._answers_kept_max)]
        self._db.executemany("DELETE FROM answers WHERE number = ?", [(number,) for number in gone])

    def _give_back_space(self, free_pages_max: int) -> None:
        (free_pages,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free_pages > free_pages_max:
            # as a script: it yields a row without columns for each page, which `execute` would not step through
            self._db.executescript("PRAGMA incremental_vacuum")

    def _read_each(self, table: str, read: Callable[[int], _T]) -> tuple[_T, ...]:
        """Reads every row in order; one that cannot be read any more is removed, and said to be."""
        found = []
        for (number,) in self._db.execute(f"SELECT number FROM {table} ORDER BY number").fetchall():  # noqa: S608 - our own table names
            try:
                found.append(read(number))
            except ValidationError as error:
                log.error("a journalled row of %s is not readable and is dropped: %s", table, error.errors()[0]["msg"])
                self._db.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - our own table names
        return tuple(found)

    def _read_session(self, number: int) -> RestoredSession:
        prompt, reply, deadline_in_s, elapsed_s, restarts = self._db.execute(
            "SELECT prompt, reply, deadline_in_s, elapsed_s, restarts FROM prompts WHERE number = ?", (number,)
        ).fetchone()
        rows = self._db.execute("SELECT layer, responses FROM layers WHERE prompt = ? ORDER BY layer", (number,))
        # a layer builds on the one before: those after a gap are of no use
        joined = [row[1] for expected, row in enumerate(rows.fetchall(), start=1) if row[0] == expected]
        return RestoredSession(
            prompt=_PROMPT.validate_json(prompt),
            reply=_REPLY.validate_json(reply),
            remaining_s=None if deadline_in_s is None else max(0.0, deadline_in_s - elapsed_s),
            elapsed_s=elapsed_s,
            layers=tuple(_RESPONSES.validate_json(responses) for responses in joined),
            restarts=restarts,
        )

    def _read_answer(self, number: int) -> RestoredAnswer:
        answer, reply, delivered = self._db.execute(
            "SELECT answer, reply, delivered FROM answers WHERE number = ?", (number,)
        ).fetchone()
        return RestoredAnswer(_ANSWER.validate_json(answer), _REPLY.validate_json(reply), bool(delivered))


def _to_json(adapter: TypeAdapter[_T], value: _T) -> str:
    return adapter.dump_json(value).decode()


def _columns(moment: Moment) -> tuple[float, str, float]:
    return (moment.wall_s, moment.boot_id, moment.since_boot_s)
