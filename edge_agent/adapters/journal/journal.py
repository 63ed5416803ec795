"""The journal as the runtime sees it: one thread owns the SQLite connection, and what waits is written together.

Whoever has a record kept goes on; the future it gets ends once the record is on disk. While one wait for the disk
lasts, more records gather, and the next wait serves them all.

A disk that is full, read-only or failing is a state: told as health, tried again with longer and longer pauses, and
left by itself. A damaged file is set aside, also in the middle of a run; in the new one the core has everything kept
again that has not ended, once it hears that the journal was not well and is. Ends that find no room are kept in a
reserve beside it (`reserve.py`) until the journal takes them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edge_agent.adapters.journal.file import JournalFile, in_words
from edge_agent.adapters.journal.moment import Moment, read_moment
from edge_agent.adapters.journal.reserve import RESERVE_BYTES
from edge_agent.adapters.journal.store import Record
from edge_agent.core.errors import JournalError
from edge_agent.core.events import HealthChanged, SessionsRestored
from edge_agent.core.health import Part
from edge_agent.ports import EmitEvent
from edge_agent.tasks import TaskSupervisor

log = logging.getLogger(__name__)

WAITING_MAX = 4096  # records that wait for the disk: several for each session of the largest queue
BATCH_MAX = 256  # records that one transaction writes: bounds what a failing one has to do again
RETRY_MIN_S = 1.0  # after a failure; doubled with each further one
RETRY_MAX_S = 60.0
RESERVE_RETRY_S = 60.0  # between looks for room for the reserve, should nothing be written meanwhile

_T = TypeVar("_T")


class SqliteJournal:
    """Keeps accepted prompts and their ends in one SQLite file.

    A prompt is known by its id together with whose it is. `answers_kept_s` and `answers_bytes_max` bound what is
    kept of the past; give it the same as the agent's settings, so that both forget the same. Answers that no broker has
    taken stay longer (`store.UNDELIVERED_KEPT_S`). Prompts that have not ended are never dropped.

    device_id: in whose name the user of a damaged record is told so; with "" nobody is.
    """

    def __init__(
        self,
        path: Path,
        *,
        answers_kept_s: float = 3_600.0,
        answers_bytes_max: int = 8 * 1024 * 1024,
        reserve_bytes: int = RESERVE_BYTES,
        now: Callable[[], Moment] = read_moment,
        device_id: str = "",
    ) -> None:
        self._path = path
        self._now = now
        # touched by the thread
        self._file = JournalFile(path, answers_kept_s, answers_bytes_max, reserve_bytes, now, device_id)
        self._emit: EmitEvent | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._trouble = ""
        self._reserve_said = ""
        self._ill = asyncio.Event()
        self._supervisor = TaskSupervisor("journal")

    async def open(self, emit: EmitEvent) -> SessionsRestored:
        """Opens the journal and returns what it holds; removes what is past its retention.

        Where the disk takes nothing, `emit` gets a `HealthChanged`, and what can be read is returned all the same: of a
        journal that cannot even be read, what the reserve holds, and `emit` gets the rest as soon as it can be. A
        damaged file is set aside under another name, and an empty journal begins.

        Raises:
            JournalError: a newer moamesh wrote it, or another process has it open.
        """
        if self._thread is not None:
            raise JournalError(f"{self._path} is open already")
        self._emit = emit
        self._trouble = ""
        self._ill.clear()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            restored = await self._in_thread(self._file.open)
        except sqlite3.Error as error:
            await self.close()
            raise JournalError(f"{self._path}: {in_words(error)}") from error
        except BaseException:
            await self.close()
            raise
        if self._file.refusal is not None:
            await self._failed(self._file.refusal)
        self._reserve_said = ""
        await self._say_reserve()
        return restored

    async def next_incarnation(self) -> int:
        """Returns a number higher than any returned before; also after a journal was lost, if the clock has gone on:
        it is at least the wall clock's seconds, since peers ignore a device whose number is lower."""
        try:
            return await self._in_thread(self._file.next_incarnation)
        except (sqlite3.Error, OSError, JournalError):
            return max(1, int(self._now().wall_s))

    def write(self, record: Record) -> asyncio.Future[None]:
        """Has a record kept, behind all that were given before; the future ends when it is on disk.

        It raises `JournalError` if the disk refuses, and for an end the reserve, too.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._thread is None:
            future.set_exception(JournalError(f"{self._path} is not open"))
        elif len(self._waiting) >= WAITING_MAX:
            future.set_exception(JournalError(f"{self._path}: {WAITING_MAX} records wait for the disk already"))
        else:
            self._waiting.append((record, future))
            if self._writing is None:
                self._writing = self._supervisor.begin("writing", self._write_waiting())
        return future

    async def close(self) -> None:
        """Writes what waits and closes the journal; it can be opened again. May be called twice."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._supervisor.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._file.close)
            thread.shutdown()

    # --- in the event loop ----------------------------------------------------------------------------------------

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[tuple[Record, asyncio.Future[None]]]) -> None:
        records = [record for record, _ in batch]
        errors = await self._in_thread(lambda: self._file.write_all(records))
        trouble = next(filter(None, errors), None)
        if trouble is not None:
            errors = await self._in_thread(lambda: self._file.keep_in_reserve(records, errors))
        for (_, future), error in zip(batch, errors, strict=True):
            if future.cancelled():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(JournalError(f"{self._path}: {in_words(error)}"))
        if trouble is not None:
            await self._failed(trouble)
            return
        await self._say_reserve()
        # that a small record found room does not say that the disk is well: `_recover` finds that out
        damage, self._file.damage = self._file.damage, ""
        if damage and not self._trouble:
            self._trouble = damage
            await self._say(HealthChanged(Part.JOURNAL, damage))
            await self._well()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Runs blocking work in the journal's thread, in the order of the calls."""
        if self._thread is None:
            raise JournalError(f"{self._path} is not open")
        # shielded: cancelling who waits must not leave in doubt whether a queued write happens
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def _failed(self, error: Exception) -> None:
        words = f"the journal cannot be written, so a restart would lose accepted prompts: {in_words(error)}"
        if not self._trouble:
            log.error("%s: %s", self._path, words)
        if words != self._trouble:
            self._trouble = words
            self._ill.set()
            await self._say(HealthChanged(Part.JOURNAL, words))
        self._supervisor.keep("recovery", self._recover)

    async def _well(self) -> None:
        if self._trouble:
            log.warning("%s: the journal can be written again", self._path)
            self._trouble = ""
            self._ill.clear()
            await self._say(HealthChanged(Part.JOURNAL, ""))

    async def _recover(self) -> None:
        """Tries again and again while the disk refuses, also if nothing is to be written."""
        pause_s = RETRY_MIN_S
        while True:
            await self._ill.wait()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
            try:
                restored = await self._in_thread(self._file.try_again)
            except (sqlite3.Error, OSError, JournalError) as error:
                log.debug("%s still fails: %s", self._path, error)
                continue
            if restored is not None:
                await self._say(restored)
            pause_s = RETRY_MIN_S
            await self._well()
            await self._say_reserve()

    async def _say_reserve(self) -> None:
        """Tells that there is no room for ends on a full disk, and that there is again. It is tried for ever."""
        trouble = self._file.reserve_trouble
        words = (
            trouble and f"if the disk fills up, ends of prompts cannot be kept and must be computed again: {trouble}"
        )
        if words != self._reserve_said:
            self._reserve_said = words
            await self._say(HealthChanged(Part.RESERVE, words))
        if words:
            self._supervisor.keep("making its reserve", self._make_reserve)

    async def _make_reserve(self) -> None:
        while True:
            await asyncio.sleep(RESERVE_RETRY_S)
            if self._reserve_said and not self._trouble:
                await self._in_thread(self._file.make_reserve)
                await self._say_reserve()

    async def _say(self, event: HealthChanged | SessionsRestored) -> None:
        if self._emit is not None:
            await self._emit(event)
