"""The journal's file with its reserve, as plain blocking calls. All of it runs in the journal's thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import final

from edge_agent.adapters.journal.database import is_damage, is_foreign, open_database, set_aside
from edge_agent.adapters.journal.moment import Moment
from edge_agent.adapters.journal.reserve import Reserve, reserve_of
from edge_agent.adapters.journal.store import Record, Store
from edge_agent.core.effects import JournalAnswer
from edge_agent.core.errors import JournalError
from edge_agent.core.events import RestoredAnswer, SessionsRestored

log = logging.getLogger(__name__)

RESERVE_TRY_EVERY = 64  # records between two tries to make a reserve for which there was no room
COPY_BYTES_MAX = 64 * 1024 * 1024  # of a journal that is read while the disk takes nothing; it is some megabytes
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, for as long as it takes to read
_WAYS_OUT = {
    errno.ENOSPC: "free some space",
    errno.EROFS: "mount it writable, or replace a worn card",
}


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
        device_id: str = "",
    ) -> None:
        self._device_id = device_id
        self.refusal: Exception | None = None
        """Why the disk takes nothing, while it does not."""
        self._told = True
        self._file_id: tuple[int, int] | None = None
        self._until_reserve = 0
        self.reserve_trouble = ""
        """Why there is no room for ends on a full disk, "" if there is."""
        self.damage = ""
        """What happened to a damaged file; whoever tells it empties it."""
        self._path = path
        self._answers_kept_s = answers_kept_s
        self._answers_bytes_max = answers_bytes_max
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._store: Store | None = None
        self._reserve = Reserve(reserve_of(path), reserve_bytes)

    def open(self) -> SessionsRestored:
        """Opens it and returns what it holds; sets a damaged file aside.

        Where the disk takes nothing, `refusal` says why, and what can be read is returned.

        Raises:
            JournalError: a newer moamesh wrote it.
            sqlite3.Error: another process has it open.
        """
        self.refusal, self._told = None, True
        try:
            return self._open_for_good()
        except (sqlite3.Error, OSError) as error:
            if is_of_another_process(error):
                raise
            self.refusal = error
        try:
            return self._read_copy()
        except (sqlite3.Error, OSError) as error:
            log.warning("%s cannot be read either: %s", self._path, in_words(error))
            self._told = False
            return SessionsRestored((), self._ends_in_reserve())

    def try_again(self) -> SessionsRestored | None:
        """Returns what the journal holds if it could only now be read."""
        restored = None
        if self._store is None:
            restored = self._open_for_good()
        else:
            try:
                self._store.try_to_write()
                self._take_from_reserve(self._store)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._begin_anew(_damage_in_words(error))
        self.refusal = None
        told, self._told = self._told, True
        return None if told else restored

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
        if not refused:
            return errors
        try:
            kept = self._reserve.put([record for _, record in refused])
        except OSError as error:
            log.debug("%s: the reserve cannot be written either: %s", self._path, error)
            return errors
        for at, _ in refused[:kept]:
            errors[at] = None
        return errors

    def _write_once(self, records: list[Record]) -> None:
        store = self._opened()
        if _file_id(self._path) != self._file_id:
            self._begin_anew("it was removed or replaced while it was in use")
            store = self._opened()
        self._try_reserve(len(records))
        try:
            store.write(records)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._begin_anew(_damage_in_words(error))
            self._opened().write(records)

    def _try_reserve(self, records: int) -> None:
        self._until_reserve -= records
        if not self._reserve.is_open and self._until_reserve <= 0:
            self._until_reserve = RESERVE_TRY_EVERY
            self.make_reserve()

    def make_reserve(self) -> None:
        """Takes the room for ends, if there is any; `reserve_trouble` says what came of it."""
        try:
            self._reserve.open()
        except OSError as error:  # the journal works: it is not to fail for the want of its reserve
            if not self.reserve_trouble:
                log.warning(
                    "%s: there is no reserve, so a full disk would lose ends of prompts: %s",
                    self._path,
                    in_words(error),
                )
            self.reserve_trouble = in_words(error)
        else:
            self.reserve_trouble = ""

    def _take_from_reserve(self, store: Store) -> None:
        """Has the journal keep what it refused before."""
        self.make_reserve()
        if records := self._reserve.records:
            store.write(records)
            with contextlib.suppress(OSError):  # then they are taken once more, which changes nothing
                self._reserve.clear()

    def _ends_in_reserve(self) -> tuple[RestoredAnswer, ...]:
        with contextlib.suppress(OSError):
            self._reserve.open()
        return tuple(RestoredAnswer(record.answer, record.reply, False) for record in self._reserve.records)

    def _opened(self) -> Store:
        if self._store is None:
            raise self.refusal or JournalError(f"{self._path} is not open")
        return self._store

    def _open_for_good(self) -> SessionsRestored:
        try:
            try:
                return self._open_once()
            except sqlite3.Error as error:
                if not is_foreign(error):
                    raise
                return self._begin_anew(_damage_in_words(error))
        except BaseException:
            self.close()
            raise

    def _begin_anew(self, why: str) -> SessionsRestored:
        self.close()
        aside = set_aside(self._path)
        left = f"it was set aside as {aside}" if aside.exists() else "nothing is left of it"
        log.error("the journal %s is begun anew without its prompts: %s; %s", self._path, why, left)
        self.damage = f"the journal is begun anew, since {why}; {left}; what has not ended is kept anew"
        return self._open_once()

    def _open_once(self) -> SessionsRestored:
        self._connection = open_database(self._path)
        self._file_id = _file_id(self._path)
        self._store = self._new_store(self._connection)
        self._take_from_reserve(self._store)
        return self._store.restore()

    def _read_copy(self) -> SessionsRestored:
        """Returns what the journal holds, from a copy in memory: SQLite itself reads little without writing."""
        self._ends_in_reserve()
        wal = self._path.with_name(f"{self._path.name}-wal")
        parts = [self._path, *([wal] if wal.exists() else [])]
        if sum(part.stat().st_size for part in parts) > COPY_BYTES_MAX:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self._path))
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for part in parts:
                shutil.copyfile(part, Path(folder) / part.name)
            connection = open_database(Path(folder) / self._path.name)
            try:
                store = self._new_store(connection)
                store.write(self._reserve.records)
                return store.restore()
            finally:
                connection.close()

    def _new_store(self, connection: sqlite3.Connection) -> Store:
        return Store(
            connection,
            answers_kept_s=self._answers_kept_s,
            answers_bytes_max=self._answers_bytes_max,
            now=self._now,
            device_id=self._device_id,
        )


def _damage_in_words(error: sqlite3.Error) -> str:
    return f"it was damaged: {' '.join(str(error).split())}"  # SQLite says it in several lines


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_of_another_process(error: Exception) -> bool:
    """Whether it is locked."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


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
        way_out = _WAYS_OUT.get(error.errno or 0)
        return f"{error.strerror}: {way_out}" if way_out else error.strerror or str(error)
    return str(error)
