"""A child process that is kept running: started again when it ends or hangs, but not without pause.

It hangs if it owes an answer and stands still (`edge_agent.hangs`): one that is only slow would be as slow after it
was started again, and nobody would ever be served.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from edge_agent.children.process import ChildProcess
from edge_agent.hangs import HangDetector, HangError
from edge_agent.tasks import ProblemListener, TaskSupervisor, log_only, unless

_log = logging.getLogger(__name__)

START_STILL_S = 60.0  # a child that starts may wait for others for so long, as a node of a cluster does
RUN_STILL_S = 15.0  # one that runs and was asked has nothing to wait for
POLL_S = 0.02  # between two questions to one that does not answer, at first
POLL_SHARE = 0.1  # and then, of the time that it has been asked for: questions cost it a handshake each
ASK_FIRST_S = 3.0  # for an answer; a handshake takes a small device some hundred milliseconds while it infers
ASK_MAX_S = 60.0  # the same, after answers that took long or did not come: such a machine is asked more patiently
ASK_GROWS = 1.5  # times, after one in vain: a question may also have been swallowed, and should be asked again soon
ASK_SLACK = 4.0  # times as long as the last answer took
WATCH_S = 0.1  # how soon the end of the child is seen
HEALTH_INTERVAL_S = 5.0
PAUSE_MIN_S = 0.1  # before a child that ended is started again
PAUSE_MAX_S = 10.0  # longest pause, for one that ends again and again
STEADY_S = 30.0  # a child that ran this long is not one that ends at once


class ChildStartError(RuntimeError):
    """A child did not come up. The message is one line with the last of its own words."""


class Supervised:
    """Runs `command` until `stop`. Use it in the main thread's event loop (see `ChildProcess`).

    Args:
        answers: whether it works, asked every few seconds, and for how many seconds to wait; must not raise.
        helpers: processes beside it whose work a start may have to wait for.
        on_problem: is called with one line if it ends again and again, or cannot be started again, and with "" once it
            runs steadily.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        answers: Callable[[float], Awaitable[bool]],
        *,
        environment: Mapping[str, str] | None = None,
        helpers: Callable[[], Iterable[int]] = tuple,
        on_problem: ProblemListener = log_only,
    ) -> None:
        self.restarts = 0
        """How often it was started again without being asked to."""
        self._name = name
        self._command = command
        self._log = log
        self._answers = answers
        self._helpers = helpers
        self._ask_s = ASK_FIRST_S
        self._starts = 0
        self._ill = False
        self._child = ChildProcess(command, log, environment)
        self._tasks = TaskSupervisor(name, on_problem)
        self._on_problem = on_problem
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
            ChildStartError: it ended, or did not answer in time; nothing is left running.
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
            ChildStartError: it did not come back; it is tried again, with pauses.
        """
        async with self._lock:
            await self._child.stop()
            await self._start()

    def reload(self) -> None:
        """Has it read its access files again (SIGHUP). Sessions stay."""
        self._child.send_signal(signal.SIGHUP)

    async def _start(self) -> None:
        self._starts += 1
        try:
            await self._child.start()
        except OSError as error:
            raise ChildStartError(f"{self._name} did not start: {error}") from None
        detector = HangDetector(lambda: [self.pid, *self._helpers()], START_STILL_S)
        try:
            answered = await unless(self._answered(), detector.found())
        except HangError as error:
            raise await self._failed(f"does not answer: it {error}") from None
        await asyncio.sleep(POLL_S)
        if not (answered and self._child.running):  # it ran, and answered? then another process has the port
            raise await self._failed("ended at once")

    async def _failed(self, how: str) -> ChildStartError:
        await self._child.kill()  # first: then all that it said is heard
        return ChildStartError(f"{self._name} {how}: {self._last_words()}")

    def _last_words(self) -> str:
        return self._child.tail() or "its log is empty"

    async def _answered(self) -> bool:
        """Asks until it answers; not, if it ended before."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not await self._asked():
            if not self._child.running:
                return False
            await asyncio.sleep(max(POLL_S, POLL_SHARE * (loop.time() - began)))
        return True

    async def _asked(self) -> bool:
        """Asks it once, with the patience that its answers of late were worth; whether it answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await self._answers(self._ask_s)
        took_s = loop.time() - began
        if answers:
            self._ask_s = min(ASK_MAX_S, max(ASK_FIRST_S, ASK_SLACK * took_s))
        elif took_s >= self._ask_s:
            self._ask_s = min(ASK_MAX_S, ASK_GROWS * self._ask_s)
        return answers

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = PAUSE_MIN_S
        while True:
            began = loop.time()
            start, how = await self._trouble(began)
            steady = loop.time() - began > STEADY_S
            _log.warning("%s %s: starting it again", self._name, how)
            if not steady:
                self._say(f"{self._name} {how} again and again: {self._last_words()}")
            pause = PAUSE_MIN_S if steady else min(PAUSE_MAX_S, pause * 2)
            await asyncio.sleep(pause)
            try:
                async with self._lock:
                    if start != self._starts:
                        continue  # a restart that was asked for came first
                    await self._child.kill()
                    await self._start()
                    self.restarts += 1
            except ChildStartError as error:  # the next round tries again
                self._say(f"{error}; it is tried again")

    async def _trouble(self, began: float) -> tuple[int, str]:
        """Returns which of its starts came to nothing, and how, once that is so."""
        loop = asyncio.get_running_loop()
        next_check = loop.time() + HEALTH_INTERVAL_S
        while True:
            await asyncio.sleep(WATCH_S)
            if self._lock.locked():  # it is just being started; whoever does that judges it
                next_check = loop.time() + HEALTH_INTERVAL_S
                continue
            start = self._starts
            if not self._child.running:
                await self._child.wait()  # until its last words are heard
                return start, "ended"
            if self._ill and loop.time() - began > STEADY_S:
                self._say("")
            if loop.time() >= next_check:
                if (how := await self._hangs()) and start == self._starts:
                    return start, how
                next_check = loop.time() + HEALTH_INTERVAL_S

    async def _hangs(self) -> str:
        """Asks whether it works. One that does not answer is asked until it does, or is known to hang: then, how."""
        if await self._asked():
            return ""
        detector = HangDetector(lambda: [self.pid], RUN_STILL_S)
        try:
            await unless(self._answered(), detector.found())
        except HangError as error:
            return f"hangs (it was asked, and {error})"
        return ""

    def _say(self, trouble: str) -> None:
        self._ill = bool(trouble)
        self._on_problem(trouble)
