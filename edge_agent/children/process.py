"""A command that is started again and again, with a bounded log whose last lines explain an end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_agent.children.child import STOP_STILL_S, Child
from edge_agent.children.output_tail import Log, OutputTail
from edge_agent.tasks import TaskSupervisor

LOG_BYTES_MAX = 256 * 1024  # brokers log errors and warnings only; a flood of them says no more than its last part
TAIL_LINES = 5  # shown in an error message


class ChildProcess:
    """Runs one command. Start it in the main thread's event loop (see `Child`).

    Args:
        log: what it says; goes on when it is started again. Whoever reads it finds the older half beside it.
        log_bytes_max: of each half.
        environment: ours, if none is given.
        stop_still_s: seconds in which it does nothing after a polite request to end; then it is killed.
        with_us: the signal that it gets when this process ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        log_bytes_max: int = LOG_BYTES_MAX,
        stop_still_s: float = STOP_STILL_S,
        with_us: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._log_bytes_max = log_bytes_max
        self._stop_still_s = stop_still_s
        self._with_us = with_us
        self._child: Child | None = None
        self._words = OutputTail()
        self._tasks = TaskSupervisor(log.stem)
        self._hearing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.status is None

    @property
    def exit_status(self) -> int | None:
        """How it ended: an exit status, or a negative signal number. `None` before, and until all it said is heard."""
        return self._child.status if self._child is not None and self._hearing and self._hearing.done() else None

    async def start(self) -> None:
        """Starts the command, if it does not run.

        Raises:
            OSError: the program or the log's folder is not there.
        """
        if self.running:
            return
        await self._tasks.finish()
        log = Log(self._log, self._log_bytes_max)
        try:
            child = await Child.start(self._command, environment=self._environment, with_us=self._with_us)
        except BaseException:
            log.close()
            raise
        self._child, self._words = child, OutputTail()
        self._hearing = self._tasks.begin("hearing it", self._hear(child, self._words, log))

    async def wait(self) -> int:
        """Returns the `exit_status` once it has ended.

        Raises:
            RuntimeError: it was never started.
        """
        if self._child is None:
            raise RuntimeError(f"{self._log.stem} was never started")
        status = await self._child.wait()
        await self._tasks.finish()
        return status

    async def stop(self) -> None:
        """Asks the child to end and waits while it is about it; kills one that is not. Does nothing if it has ended."""
        if self._child is not None:
            await self._child.stop(self._stop_still_s)
        await self._tasks.finish()

    async def kill(self) -> None:
        """Kills the child as a crash would, and waits. Does nothing if it has ended."""
        if self._child is not None:
            await self._child.kill()
        await self._tasks.finish()

    def send_signal(self, number: signal.Signals) -> None:
        """Signals the child; does nothing if it has ended."""
        if self._child is not None:
            self._child.send_signal(number)

    def lines(self) -> list[str]:
        """Returns the last lines that it said since its start."""
        return self._words.lines()

    def tail(self) -> str:
        """Returns the very last of these as one line; "" if there are none."""
        return " | ".join(self.lines()[-TAIL_LINES:])

    async def _hear(self, child: Child, words: OutputTail, log: Log) -> None:
        def take(data: bytes) -> None:
            words.add(data)
            log.add(data)

        with contextlib.closing(log):
            await child.hear(take)
