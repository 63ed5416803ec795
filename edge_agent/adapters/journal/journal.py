"""The journal as the runtime sees it: awaitable, with one thread that owns the SQLite connection."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edge_agent.adapters.journal.database import is_damage, open_database, set_aside
from edge_agent.adapters.journal.moment import Moment, read_moment
from edge_agent.adapters.journal.store import Store
from edge_agent.core.errors import JournalError
from edge_agent.core.events import ReplyRoute, SessionsRestored
from edge_agent.core.messages import Answer, Contribution, Prompt

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class SqliteJournal:
    """Keeps accepted prompts and their ends in one SQLite file. Every method returns after the data is on disk.

    A prompt is known by its id together with its reply topic. `answers_kept_s` and `answers_kept_max` bound what is
    kept of the past; give it the same as the agent's settings, so that both forget the same. Answers that no broker has
    taken stay longer (`store.UNDELIVERED_KEPT_S`). Prompts that have not ended are never dropped.

    All methods but `open` raise `JournalError` if the journal is not open or the disk refuses.
    """

    def __init__(
        self,
        path: Path,
        *,
        answers_kept_s: float = 3_600.0,
        answers_kept_max: int = 256,
        now: Callable[[], Moment] = read_moment,
    ) -> None:
        self._path = path
        self._answers_kept_s = answers_kept_s
        self._answers_kept_max = answers_kept_max
        self._now = now
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None  # touched by the thread alone, as is _store
        self._store: Store | None = None

    async def open(self) -> SessionsRestored:
        """Opens the journal and returns what it holds; removes what is past its retention.

        A damaged file is set aside under another name, with an error in the log, and an empty journal begins.

        Raises:
            JournalError: a newer moamesh wrote it, another process has it open, or it cannot be made.
        """
        if self._thread is not None:
            raise JournalError(f"{self._path} is open already")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            return await self._in_thread(self._open)
        except BaseException:
            await self.close()
            raise

    async def next_incarnation(self) -> int:
        """Returns a number higher than any returned before; also after a damaged journal was set aside, if the clock
        has gone on: it is at least the wall clock's seconds, since peers ignore a device whose number is lower."""
        return await self._in_thread(lambda: self._opened().next_incarnation())

    async def record_prompt(self, prompt: Prompt, reply: ReplyRoute, deadline_in_s: float | None) -> None:
        """Records an accepted prompt. The same id on the same reply topic twice is the same prompt."""
        await self._in_thread(lambda: self._opened().record_prompt(prompt, reply, deadline_in_s))

    async def record_layer(
        self, prompt_id: str, reply: ReplyRoute, layer: int, responses: tuple[tuple[str, Contribution], ...]
    ) -> None:
        """Records the responses of a joined layer (counted from 1)."""
        await self._in_thread(lambda: self._opened().record_layer(prompt_id, reply, layer, responses))

    async def record_answer(self, answer: Answer, reply: ReplyRoute) -> None:
        """Records the end of a prompt, undelivered, and drops its layers."""
        await self._in_thread(lambda: self._opened().record_answer(answer, reply))

    async def mark_delivered(self, prompt_id: str, reply: ReplyRoute) -> None:
        """Notes that the broker has taken the answer."""
        await self._in_thread(lambda: self._opened().mark_delivered(prompt_id, reply))

    async def close(self) -> None:
        """Closes the journal; it can be opened again. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Runs blocking work in the journal's thread, in the order of the calls."""
        if self._thread is None:
            raise JournalError(f"{self._path} is not open")
        # shielded: cancelling who waits must not leave in doubt whether a queued write happens
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except sqlite3.Error as error:
            raise JournalError(f"{self._path}: {_in_words(error)}") from error
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror or error}") from error

    def _opened(self) -> Store:
        if self._store is None:
            raise JournalError(f"{self._path} is not open")
        return self._store

    def _open(self) -> SessionsRestored:
        try:
            return self._open_once()
        except sqlite3.Error as error:
            self._close()
            if not is_damage(error):
                raise
            aside = set_aside(self._path)
            log.error(
                "the journal %s is damaged (%s) and was set aside as %s; a new one begins without its prompts",
                self._path,
                error,
                aside,
            )
            return self._open_once()

    def _open_once(self) -> SessionsRestored:
        self._connection = open_database(self._path)
        self._store = Store(
            self._connection,
            answers_kept_s=self._answers_kept_s,
            answers_kept_max=self._answers_kept_max,
            now=self._now,
        )
        return self._store.restore()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._store = None


def _in_words(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return "another process has this journal open: is the agent running already?"
    if code == sqlite3.SQLITE_FULL:
        return "the journal is full: no space on the disk, or over its size bound"
    return str(error)
