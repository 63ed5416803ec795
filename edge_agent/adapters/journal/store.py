"""What the journal keeps, as plain blocking calls on one SQLite connection. All of it runs in the journal's thread.

A prompt is known by its id **and** its inbox, which names its user and which of that user's clients: two users who
chose the same id have two prompts, and neither is sent the other's answer.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from edge_agent.adapters.journal.damaged import owed_end
from edge_agent.adapters.journal.database import synchronise, transaction
from edge_agent.adapters.journal.moment import Moment
from edge_agent.core.crowding import Row, crowded_out
from edge_agent.core.effects import JournalAnswer, JournalDelivered, JournalLayer, JournalPrompt
from edge_agent.core.events import JoinedLayer, ReplyRoute, RestoredAnswer, RestoredSession, SessionsRestored
from edge_agent.core.messages import DEADLINE_MAX_S, FANOUT_MAX, LAYERS_MAX, Answer, Prompt
from edge_agent.core.shares import user_holder

log = logging.getLogger(__name__)

UNDELIVERED_KEPT_S = DEADLINE_MAX_S  # as long as any prompt may take, a user may still be waiting for its end
FREE_PAGES_MAX = 256  # 1 MiB of deleted text before the file is made smaller, which costs a write of its own

TRY_BYTES = 128 * 1024  # a disk with room for a small record alone is not well
PRUNE_EVERY = 64  # ends between two looks at what is past its time: a look reads a line of each
_INCARNATION_MAX = 2**52  # what peers believe of a device, as in core/membership; more is damage
_TIMES = "typeof(wall_s) = 'real' AND typeof(since_boot_s) = 'real'"
_POSSIBLE = {
    "prompts": f"{_TIMES} AND typeof(elapsed_s) = 'real' AND elapsed_s >= 0"
    f" AND (deadline_in_s IS NULL OR typeof(deadline_in_s) = 'real' AND deadline_in_s BETWEEN 0 AND {DEADLINE_MAX_S})"
    " AND typeof(restarts) = 'integer' AND restarts >= 0"
    f" AND (layer_count IS NULL OR typeof(layer_count) = 'integer' AND layer_count BETWEEN 0 AND {LAYERS_MAX})"
    f" AND (fanout IS NULL OR typeof(fanout) = 'integer' AND fanout BETWEEN 0 AND {FANOUT_MAX})",
    "answers": f"{_TIMES} AND typeof(delivered) = 'integer'",
}
"""What the numbers of a row can be. SQLite itself takes anything for a number that a damaged disk makes of one."""

Record: TypeAlias = JournalPrompt | JournalLayer | JournalAnswer | JournalDelivered
"""What the core has the journal keep."""

_T = TypeVar("_T")

_PROMPT = TypeAdapter(Prompt)
_REPLY = TypeAdapter(ReplyRoute)
_ANSWER = TypeAdapter(Answer)
_JOINED = TypeAdapter(JoinedLayer)


class Store:
    """The journal's content. Each public method is one transaction: all of it is written, or nothing."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        answers_kept_s: float,
        answers_bytes_max: int,
        now: Callable[[], Moment],
        device_id: str = "",
    ) -> None:
        self._db = connection
        self._device_id = device_id
        self._answers_kept_s = answers_kept_s
        self._answers_bytes_max = answers_bytes_max
        self._answer_bytes = 0
        self._until_pruned = PRUNE_EVERY
        self._now = now

    def restore(self) -> SessionsRestored:
        """Returns what is kept and counts this start as a restart of each unfinished prompt."""
        now = self._now()
        synchronise(self._db, True)
        with transaction(self._db):
            self._db.execute("SELECT name, value FROM counters")  # that it is there; the others are read below
            owed = [
                self._drop(table, number, "its numbers are damaged")
                for table, possible in _POSSIBLE.items()
                for number in self._numbers(table, f"NOT ({possible})")
            ]
            self._tell_later(owed, now)
            self._prune(now)
            self._db.execute("UPDATE prompts SET restarts = restarts + 1")
            for (number,) in self._db.execute("SELECT number FROM prompts").fetchall():
                self._count_time(number, now)
            sessions = self._read_each("prompts", self._read_session, now)
            self._read_each(
                "answers", self._read_answer, now
            )  # so that what is left can be read, with ends of the rest
            answers = self._read_each("answers", self._read_answer, now)
        self._give_back_space(0)
        return SessionsRestored(sessions, answers)

    def next_incarnation(self) -> int:
        """Returns a number higher than any before, and than those of a lost journal if the clock went on since."""
        synchronise(self._db, True)
        with transaction(self._db):
            row = self._db.execute("SELECT value FROM counters WHERE name = 'incarnation'").fetchone()
            before = row[0] if row and isinstance(row[0], int) and 0 <= row[0] < _INCARNATION_MAX else 0
            incarnation = max(before + 1, int(self._now().wall_s))
            self._db.execute("INSERT OR REPLACE INTO counters VALUES ('incarnation', ?)", (incarnation,))
        return incarnation

    def write(self, records: Sequence[Record]) -> None:
        """Keeps records in their order, with one wait for the disk, or with none if none of them needs it."""
        synchronise(self._db, any(isinstance(record, JournalPrompt | JournalAnswer) for record in records))
        now = self._now()
        with transaction(self._db):
            for record in records:
                self._write(record, now)
        if any(isinstance(record, JournalAnswer) for record in records):
            self._give_back_space(FREE_PAGES_MAX)

    def try_to_write(self) -> None:
        """Writes something of no meaning, as large as the largest prompt: raises if the disk still refuses."""
        synchronise(self._db, True)
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO counters VALUES ('try', zeroblob(?))", (TRY_BYTES,))
        with transaction(self._db):
            self._db.execute("DELETE FROM counters WHERE name = 'try'")

    def _write(self, record: Record, now: Moment) -> None:
        match record:
            case JournalPrompt():
                self._record_prompt(record, now)
            case JournalLayer():
                self._record_layer(record, now)
            case JournalAnswer(answer=answer, reply=reply):
                self._record_answer(answer, reply, now)
            case JournalDelivered():
                self._db.execute(
                    "UPDATE answers SET delivered = 1 WHERE prompt_id = ? AND inbox = ?",
                    (record.prompt_id, record.reply.inbox),
                )

    def _record_prompt(self, record: JournalPrompt, now: Moment) -> None:
        """Keeps an accepted prompt; one that is under way already stays as it is."""
        prompt, reply = record.prompt, record.reply
        key = (prompt.prompt_id, reply.inbox)
        # the agent asks this only of a prompt whose end it no longer remembers: it begins anew
        self._db.execute("DELETE FROM answers WHERE prompt_id = ? AND inbox = ?", key)
        self._db.execute(
            "INSERT INTO prompts (prompt_id, inbox, reply, prompt, deadline_in_s, elapsed_s, restarts,"
            " layer_count, fanout, wall_s, boot_id, since_boot_s) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?)"
            " ON CONFLICT (prompt_id, inbox) DO NOTHING",
            (
                *(*key, _to_json(_REPLY, reply), _to_json(_PROMPT, prompt), record.deadline_in_s),
                *(record.layer_count, record.fanout, *_columns(now)),
            ),
        )

    def _record_layer(self, record: JournalLayer, now: Moment) -> None:
        """Keeps a joined layer; of a prompt that is not known, nothing."""
        row = self._db.execute(
            "SELECT number FROM prompts WHERE prompt_id = ? AND inbox = ?",
            (record.prompt_id, record.reply.inbox),
        ).fetchone()
        if row is None:
            log.warning("layer %d of prompt %r is not journalled: the prompt is not", record.layer, record.prompt_id)
            return
        self._count_time(row[0], now)
        self._db.execute(
            "INSERT OR REPLACE INTO layers VALUES (?, ?, ?)", (row[0], record.layer, _to_json(_JOINED, record.joined))
        )

    def _record_answer(self, answer: Answer, reply: ReplyRoute, now: Moment) -> None:
        """Keeps the end of a prompt, undelivered, in the place of the prompt and its layers. The first end stays,
        but for the same one cut for a broker that takes less: that is what is told."""
        key = (answer.prompt_id, reply.inbox)
        text = _to_json(_ANSWER, answer)
        self._db.execute("DELETE FROM prompts WHERE prompt_id = ? AND inbox = ?", key)
        self._db.execute(
            "INSERT INTO answers (prompt_id, inbox, reply, answer, delivered, wall_s, boot_id, since_boot_s)"
            " VALUES (?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (prompt_id, inbox)"
            " DO UPDATE SET answer = excluded.answer, delivered = 0 WHERE length(excluded.answer) < length(answer)",
            (*key, _to_json(_REPLY, reply), text, *_columns(now)),
        )
        self._answer_bytes += len(text)
        self._until_pruned -= 1
        if self._answer_bytes > self._answers_bytes_max or self._until_pruned <= 0:
            self._prune(now)

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
        """Drops answers past their time, then, over the bound, those of who keeps most: as the core forgets them."""
        rows = self._db.execute(
            "SELECT number, inbox, length(answer), delivered, wall_s, boot_id, since_boot_s FROM answers"
            " ORDER BY number"
        ).fetchall()
        kept: list[Row] = []
        gone: list[int] = []
        for number, inbox, size, delivered, *noted in rows:
            kept_s = self._answers_kept_s if delivered else max(self._answers_kept_s, UNDELIVERED_KEPT_S)
            if now.seconds_since(Moment(*noted)) <= kept_s:
                kept.append((number, _holder(inbox), size, bool(delivered)))
            else:
                gone.append(number)
        out = set(crowded_out(kept, self._answers_bytes_max))
        self._answer_bytes = sum(size for number, _, size, _ in kept if number not in out)
        self._until_pruned = PRUNE_EVERY
        self._db.executemany("DELETE FROM answers WHERE number = ?", [(number,) for number in (*gone, *out)])

    def _give_back_space(self, free_pages_max: int) -> None:
        (free_pages,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free_pages > free_pages_max:
            # as a script: it yields a row without columns for each page, which `execute` would not step through
            self._db.executescript("PRAGMA incremental_vacuum")

    def _read_each(self, table: str, read: Callable[[int], _T], now: Moment) -> tuple[_T, ...]:
        """Reads every row in order; one that cannot be read any more is removed, and said to be."""
        found, owed = [], []
        for number in self._numbers(table, "true"):
            try:
                found.append(read(number))
            except ValidationError as error:
                owed.append(self._drop(table, number, error.errors()[0]["msg"]))
            except _OwnerMismatchError:
                owed.append(self._drop(table, number, "it names two users"))
        self._tell_later(owed, now)
        return tuple(found)

    def _numbers(self, table: str, which: str) -> list[int]:
        rows = self._db.execute(f"SELECT number FROM {table} WHERE {which} ORDER BY number")  # noqa: S608 - our own words
        return [number for (number,) in rows.fetchall()]

    def _drop(self, table: str, number: int, why: str) -> tuple[Answer, ReplyRoute] | None:
        """Removes a row. Returns the end that is owed to its user, where it says who that is."""
        told = "delivered = 1" if table == "answers" else "false"
        prompt_id, inbox, reply, told = self._db.execute(
            f"SELECT prompt_id, inbox, reply, {told} FROM {table} WHERE number = ?",  # noqa: S608 - our own words
            (number,),
        ).fetchone()
        self._db.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - our own table names
        owed = None if told else owed_end(prompt_id, inbox, reply, self._device_id)
        then = "nobody can be notified" if owed is None else "its user is notified"
        log.error("a journalled row of %s is not readable and is dropped: %s; %s", table, why, then)
        return owed

    def _tell_later(self, owed: Sequence[tuple[Answer, ReplyRoute] | None], now: Moment) -> None:
        """Keeps ends in the place of rows that are gone; they are told as all that are restored."""
        for end in owed:
            if end is not None:
                self._record_answer(*end, now)

    def _read_session(self, number: int) -> RestoredSession:
        prompt, reply, inbox, deadline_in_s, elapsed_s, restarts, layer_count, fanout = self._db.execute(
            "SELECT prompt, reply, inbox, deadline_in_s, elapsed_s, restarts, layer_count, fanout FROM prompts"
            " WHERE number = ?",
            (number,),
        ).fetchone()
        rows = self._db.execute("SELECT layer, joined FROM layers WHERE prompt = ? ORDER BY layer", (number,))
        # a layer builds on the one before: those after a gap are of no use
        joined = [row[1] for expected, row in enumerate(rows.fetchall(), start=1) if row[0] == expected]
        layers: list[JoinedLayer] = []
        with contextlib.suppress(ValidationError):  # it is asked again from a damaged layer on
            for layer in joined:
                layers.append(_JOINED.validate_json(layer))  # noqa: PERF401 - those before a damaged one stay
        return RestoredSession(
            prompt=_PROMPT.validate_json(prompt),
            reply=_route(reply, inbox),
            remaining_s=None if deadline_in_s is None else max(0.0, deadline_in_s - elapsed_s),
            elapsed_s=elapsed_s,
            layers=tuple(layers),
            restarts=restarts,
            layer_count=layer_count,
            fanout=fanout,
        )

    def _read_answer(self, number: int) -> RestoredAnswer:
        answer, reply, inbox, delivered, *noted = self._db.execute(
            "SELECT answer, reply, inbox, delivered, wall_s, boot_id, since_boot_s FROM answers WHERE number = ?",
            (number,),
        ).fetchone()
        age_s = self._now().seconds_since(Moment(*noted))
        return RestoredAnswer(_ANSWER.validate_json(answer), _route(reply, inbox), bool(delivered), age_s)


class _OwnerMismatchError(Exception):
    """A row's two words on whose it is disagree: what it holds could be told to somebody else."""


def _route(reply: str, inbox: str) -> ReplyRoute:
    route = _REPLY.validate_json(reply)
    if route.inbox != inbox:
        raise _OwnerMismatchError
    return route


def _holder(inbox: str) -> str:
    """For whom a row counts. A damaged inbox names somebody all the same: it is looked at when the row is read."""
    principal, _, client = str(inbox).partition("/")
    return user_holder(principal, client)


def _to_json(adapter: TypeAdapter[_T], value: _T) -> str:
    return adapter.dump_json(value).decode()


def _columns(moment: Moment) -> tuple[float, str, float]:
    return (moment.wall_s, moment.boot_id, moment.since_boot_s)
