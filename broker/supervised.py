"""A child process that is kept running: started again when it ends or stops answering, but not without pause."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from broker.child import ChildProcess
from edge_agent.tasks import Keeper, Told, unheard

_log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0  # 15 ms for mosquitto; a busy Raspberry Pi takes many times that
POLL_S = 0.02  # while starting
WATCH_S = 0.1  # how soon the end of the child is seen
HEALTH_INTERVAL_S = 5.0
HEALTH_FAILURES_MAX = 3  # one slow answer is a busy machine; three in a row are a hang
PAUSE_MIN_S = 0.1  # before a child that ended is started again
PAUSE_MAX_S = 10.0  # longest pause, for one that ends again and again
STEADY_S = 30.0  # a child that ran this long is not one that ends at once


class BrokerStartError(RuntimeError):
    """A child did not come up. The message is one line with the last of its own words."""


class Supervised:
    """Runs `command` until `stop`. Use it in the main thread's event loop (see `ChildProcess`).

    Args:
        answers: whether it works, asked every few seconds; must not raise.
        told: hears in one line that it ends again and again, or cannot be started again, and "" once it runs steadily.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        answers: Callable[[], Awaitable[bool]],
        *,
        environment: Mapping[str, str] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        told: Told = unheard,
    ) -> None:
        self.restarts = 0
        """How often it was started again without being asked to."""
        self._name = name
        self._command = command
        self._log = log
        self._answers = answers
        self._start_timeout_s = start_timeout_s
        self._child = ChildProcess(command, log, environment)
        self._tasks = Keeper(name, told)
        self._told = told
        self._lock = asyncio.Lock()  # a restart that was asked for and one that a crash needs must not meet

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive now."""
        return self._child.running

    def tail(self) -> str:
        """The last lines of its log as one line."""
        return self._child.tail()

    async def start(self) -> None:
        """Starts it, and returns when it answers.

        Raises:
            BrokerStartError: it ended, or did not answer in time; nothing is left running.
        """
        async with self._lock:
            await self._start()
        self._tasks.keep("keeping it running", self._keep)

    async def stop(self) -> None:
        """Ends it and keeps it down. May be called at any time, also twice."""
        await self._tasks.stop()
        await self._child.stop()

    async def kill(self) -> None:
        """Kills it as a power cut would and keeps it down; `start` brings it back."""
        await self._tasks.stop()
        await self._child.kill()

    async def restart(self) -> None:
        """Ends it and starts it again: every session is cut.

        Raises:
            BrokerStartError: it did not come back; it is tried again, with pauses.
        """
        async with self._lock:
            await self._child.stop()
            await self._start()

    def reload(self) -> None:
        """Has it read its access files again (SIGHUP). Sessions stay."""
        self._child.send_signal(signal.SIGHUP)

    async def _start(self) -> None:
        try:
            await self._child.start()
        except OSError as error:
            raise BrokerStartError(f"{self._name} did not start: {error}") from None
        loop = asyncio.get_running_loop()
        end = loop.time() + self._start_timeout_s
        while not await self._answers():
            if not self._child.running:
                raise await self._failed("ended at once")
            if loop.time() >= end:
                raise await self._failed(f"did not answer in {self._start_timeout_s:g} s")
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(POLL_S)
        if not self._child.running:  # another process has the port, and it was that one which answered
            raise await self._failed("ended at once")

    async def _failed(self, how: str) -> BrokerStartError:
        tail = self._child.tail()
        await self._child.kill()
        return BrokerStartError(f"{self._name} {how}: {tail or 'no word in its log'}")

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures, pause, started, ill = 0, PAUSE_MIN_S, loop.time(), False
        next_check = loop.time() + HEALTH_INTERVAL_S
        while True:
            await asyncio.sleep(WATCH_S)
            if self._child.running and loop.time() >= next_check:
                failures = 0 if await self._answers() else failures + 1
                next_check = loop.time() + HEALTH_INTERVAL_S
            steady = loop.time() - started > STEADY_S
            if self._child.running and failures < HEALTH_FAILURES_MAX:
                if ill and steady:
                    ill = False
                    self._told("")
                continue
            how = "hangs" if self._child.running else "ended"
            _log.warning("%s %s: starting it again", self._name, how)
            if not steady:
                ill = True
                self._told(f"{self._name} {how} again and again: {self._child.tail() or 'no word in its log'}")
            pause = PAUSE_MIN_S if steady else min(PAUSE_MAX_S, pause * 2)
            await asyncio.sleep(pause)
            try:
                async with self._lock:
                    if self._child.running and failures < HEALTH_FAILURES_MAX:
                        continue  # a restart that was asked for came first
                    await self._child.kill()
                    await self._start()
                    self.restarts += 1
            except BrokerStartError as error:  # the next round tries again
                ill = True
                self._told(f"{error}; it is tried again")
            failures, started = 0, loop.time()
            next_check = loop.time() + HEALTH_INTERVAL_S
