"""The journal's file with its reserve, as plain blocking calls. All of it runs in the journal's thread."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import final

from edge_agent.adapters.journal.database import is_damage, is_foreign, is_refusal, open_database, set_aside
from edge_agent.adapters.journal.moment import Moment
from edge_agent.adapters.journal.reserve import Reserve
from edge_agent.adapters.journal.store import Record, Store
from edge_agent.core.effects import JournalAnswer
from edge_agent.core.errors import JournalError
from edge_agent.core.events import RestoredAnswer, SessionsRestored

log = logging.getLogger(__name__)

RESERVE_SUFFIX = "-ends"


@final
class JournalFile:
    """Opens, writes, and begins anew where the file is damaged. Arguments as of `SqliteJournal`."""

    def __init__(
        self,
        path: Path,
        answers_kept_s: float,
        answers_bytes_max: int,
        reserve_bytes: int,
        now: Callable[[], Moment],
    ) -> None:
        self.refusal: sqlite3.Error | None = None
        """Why it could be opened and read, but not written, if so."""
        self.damage = ""
        """What happened to a damaged file; whoever tells it empties it."""
        self._path = path
        self._answers_kept_s = answers_kept_s
        self._answers_bytes_max = answers_bytes_max
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._store: Store | None = None
        self._reserve = Reserve(path.with_name(f"{path.name}{RESERVE_SUFFIX}"), reserve_bytes)

    def open(self) -> SessionsRestored:
        """Opens it and returns what it holds; sets a damaged file aside.

        Raises:
            JournalError: a newer moamesh wrote it.
            sqlite3.Error, OSError: it is locked, or the disk does not let it.
        """
        self.refusal = None
        try:
            try:
                return self._open_once()
            except sqlite3.Error as error:
                if not is_foreign(error):
                    raise
                return self._begin_anew(error)
        except BaseException:
            self.close()
            raise

    def try_again(self) -> SessionsRestored | None:
        """Returns what the journal holds if it could only now be opened."""
        if self._store is None:
            return self.open()
        try:
            self._store.try_to_write()
            self._take_from_reserve(self._store)
            self.refusal = None
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._begin_anew(error)
        return None

    def restore_reserve(self) -> SessionsRestored:
        """Returns what the reserve holds, where the journal itself cannot be had."""
        with contextlib.suppress(OSError):
            self._reserve.open()
        ends = (RestoredAnswer(record.answer, record.reply, False) for record in self._reserve.records)
        return SessionsRestored((), tuple(ends))

    def close(self) -> None:
        """May be called twice, and `open` again."""
        self._reserve.close()
        connection, self._connection, self._store = self._connection, None, None
        if connection is not None:
            connection.close()

    def next_incarnation(self) -> int:
        """Returns a number higher than any before."""
        return self._opened().next_incarnation()

    def write_all(self, records: list[Record]) -> list[Exception | None]:
        """Writes records together, or else each for itself; returns what each came to."""
        try:
            self._write_once(records)
        except (sqlite3.Error, OSError, JournalError) as error:
            if len(records) == 1:
                return [error]
            return [self.write_all([record])[0] for record in records]
        return [None] * len(records)

    def keep_in_reserve(self, records: list[Record], errors: list[Exception | None]) -> list[Exception | None]:
        """Keeps the ends that the journal refused; returns what each record comes to by that."""
        refused = [
            (at, record)
            for at, (record, error) in enumerate(zip(records, errors, strict=True))
            if error is not None and isinstance(record, JournalAnswer)
        ]
        try:
            kept = self._reserve.put([record for _, record in refused])
        except OSError as error:
            log.debug("%s: the reserve refuses, too: %s", self._path, error)
            return errors
        for at, _ in refused[:kept]:
            errors[at] = None
        return errors

    def _write_once(self, records: list[Record]) -> None:
        try:
            self._opened().write(records)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._begin_anew(error)
            self._opened().write(records)

    def _take_from_reserve(self, store: Store) -> None:
        """Has the journal keep what it refused before."""
        try:
            self._reserve.open()
            if records := self._reserve.records:
                store.write(records)
                self._reserve.clear()
        except OSError as error:  # the journal works: it is not to fail for the want of its reserve
            log.warning("%s: ends will find no reserve on a full disk: %s", self._path, in_words(error))

    def _opened(self) -> Store:
        if self._store is None:
            raise JournalError(f"{self._path} is not open")
        return self._store

    def _begin_anew(self, damage: sqlite3.Error) -> SessionsRestored:
        self.close()
        aside = set_aside(self._path)
        log.error(
            "the journal %s is damaged (%s) and was set aside as %s; a new one begins without its prompts",
            self._path,
            damage,
            aside,
        )
        self.damage = f"the journal was damaged and is set aside as {aside.name}; what has not ended is kept anew"
        return self._open_once()

    def _open_once(self) -> SessionsRestored:
        self._connection = open_database(self._path)
        self._store = Store(
            self._connection,
            answers_kept_s=self._answers_kept_s,
            answers_bytes_max=self._answers_bytes_max,
            now=self._now,
        )
        try:
            self._take_from_reserve(self._store)
            restored = self._store.restore()
        except sqlite3.Error as error:
            if not is_refusal(error):
                raise
            restored = self._store.restore_in_memory(self._reserve.records)
            self.refusal = error
        return restored


def in_words(error: Exception) -> str:
    """Returns in one line what a disk or journal refuses, and the way out."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return "another process has this journal open: is the agent running already?"
    if code == sqlite3.SQLITE_FULL:
        return "no space on the disk, or over the journal's size bound: free some space"
    if code == sqlite3.SQLITE_READONLY:
        return "the disk, or the file, can only be read: mount it writable, or replace a worn card"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
