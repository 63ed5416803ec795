"""A child process that cannot outlive its parent, with a bounded log whose last lines explain its end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_agent.stillness import StandsStillError, Stillness
from edge_agent.tasks import Keeper, unless

LOG_BYTES_MAX = 256 * 1024  # brokers log errors and warnings only; a flood of them says no more than its first part
LOG_CHECK_S = 5.0
TAIL_LINES = 5  # shown in an error message
STOP_STILL_S = 5.0  # in which it does nothing after a polite request to end; then it is killed
STOP_COMPUTED_MAX_S = 60.0  # saving what a broker holds takes a second
STOP_WAITED_MAX_S = 60.0  # less than systemd waits for us

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None] | None:
    """Returns what the child runs before it becomes another program; `None` where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: between fork and exec nothing may need a lock
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return before_exec


class ChildProcess:
    """Runs one command. Start it in the main thread: the system ties its life to the thread that started it."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._tasks = Keeper(log.stem)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the command; its output goes to the log, begun anew.

        Raises:
            OSError: the program or the log's folder is not there.
        """
        self._log.unlink(missing_ok=True)
        output = os.open(self._log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                preexec_fn=_die_with_parent(),
                start_new_session=True,  # Ctrl-C at the terminal is ours: what needs the child is stopped before it
            )
        finally:
            os.close(output)
        self._tasks.keep("bounding its log", self._bound_log)

    async def stop(self) -> None:
        """Asks the child to end and waits while it is about it; kills one that is not. Does nothing if it has ended."""
        if self._process is not None and self.running:
            self._process.terminate()
            stillness = Stillness(
                lambda: [self.pid],
                STOP_STILL_S,
                computed_max_s=STOP_COMPUTED_MAX_S,
                waited_max_s=STOP_WAITED_MAX_S,
            )
            with contextlib.suppress(StandsStillError):
                await unless(self._process.wait(), stillness.found())
        await self.kill()

    async def kill(self) -> None:
        """Kills the child as a crash would, and waits. Does nothing if it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._tasks.stop()

    def send_signal(self, number: signal.Signals) -> None:
        """Signals the child; does nothing if it has ended."""
        if self._process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def tail(self) -> str:
        """Returns the last lines of the log as one line; "" if there is none."""
        with contextlib.suppress(OSError):
            return " | ".join(self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        return ""

    async def _bound_log(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            with contextlib.suppress(OSError):
                if self._log.stat().st_size > LOG_BYTES_MAX:
                    os.truncate(self._log, 0)  # the child appends, so it goes on at the new end
