"""Work that goes on beside other work, and who sees it end.

A task that nobody awaits dies in silence: asyncio keeps its exception until the garbage collector finds it. So nothing
in the product makes a bare task. What is to run for long belongs to a `TaskSupervisor`, which says how it ended and
begins it anew; what is awaited where it is begun uses `together` or `unless`, which raise what was raised, never in a
group.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar, final

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]
"""Makes the coroutine of a task: again each time that it is begun."""
ProblemListener = Callable[[str], None]
"""Takes one line that says what is wrong, or "" once all is well again. Called on the loop; must not raise."""
Result = TypeVar("Result")


@final
@dataclass(frozen=True, slots=True)
class Pauses:
    """Between an unforeseen end and the next beginning, in seconds: doubling, so that a defect costs little."""

    min_s: float = 0.5
    max_s: float = 60.0
    steady_s: float = 30.0
    """A task that ran for so long is well again, and its next end is paused for as briefly as the first."""


class OvertakenError(Exception):
    """What was to end after the work ended first, without an error."""


class Started(ABC):
    """What `async with` starts, and stops at its end."""

    @abstractmethod
    async def start(self) -> None:
        """Starts it. After this you must call `stop`."""

    @abstractmethod
    async def stop(self) -> None:
        """Ends it. May be called at any time, also twice."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def describe(error: BaseException) -> str:
    """Returns an error as one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def hear_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    """Has what is raised in the loop's callbacks, where no task of ours is, told in the log.

    A socket that was closed a moment ago is one line: the MQTT library asks the loop to watch a connection that is just
    lost, and whoever owns the connection knows already. Anything else is a defect and told whole.
    """

    def hear(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError):
            log.warning("%s: %s", context.get("message", "a callback failed"), describe(error))
        else:
            log.error("%s", context.get("message", "a callback failed"), exc_info=error)

    loop.set_exception_handler(hear)


def log_only(_detail: str) -> None:
    """For a part whose problems nobody else asks for: the log has them."""


@final
class TaskSupervisor:
    """Owns the long-lived tasks of one part of a process. Use it on one event loop; `stop` it in the end.

    Args:
        part: what the tasks belong to, for the log.
        on_problem: is called when one of them has ended unforeseen, and when all of them run steadily again.
    """

    def __init__(self, part: str, on_problem: ProblemListener = log_only, pauses: Pauses | None = None) -> None:
        self.ends = 0
        """Unforeseen ends so far."""
        self._part = part
        self._on_problem = on_problem
        self._pauses = pauses or Pauses()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._passing: set[asyncio.Task[None]] = set()
        self._troubles: dict[str, str] = {}

    def keep(self, name: str, work: Work) -> None:
        """Begins `work`, which is never to end by itself; begins it anew, after a pause, whenever it does.

        Again under a name that runs already does nothing.
        """
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._keep(name, work), name=f"{self._part}: {name}")

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begins something that ends by itself, and that nobody waits for. Should it fail, that is told for a while,
        and that is all: whoever depends on it has another way. Returns what may be cancelled."""
        task = asyncio.create_task(self._begin(name, work), name=f"{self._part}: {name}")
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        task.add_done_callback(lambda _: work.close())  # of one that was cancelled before its first step
        return task

    async def end(self, name: str) -> None:
        """Cancels one kept task and waits for its end. Does nothing if there is none of this name."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._well(name)

    async def finish(self) -> None:
        """Waits for all that `begin` began."""
        while self._passing:
            await asyncio.wait(set(self._passing))

    async def stop(self) -> None:
        """Cancels everything and waits for its end. May be called at any time, also twice."""
        tasks = [*self._tasks.values(), *self._passing]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._troubles:  # whoever takes over begins well
            self._troubles.clear()
            self._on_problem("")

    async def _keep(self, name: str, work: Work) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._pauses.min_s
        while True:
            began = loop.time()
            steady = loop.call_later(self._pauses.steady_s, self._well, name)
            try:
                await work()
                problem = "ended by itself"
                log.error("%s: %s %s", self._part, name, problem)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                problem = "was cancelled from within"
                log.exception("%s: %s %s", self._part, name, problem)
            except Exception as error:  # whatever it is: this is where it would have been lost
                problem = describe(error)
                log.exception("%s: %s failed", self._part, name)
            finally:
                steady.cancel()
            if loop.time() - began >= self._pauses.steady_s:
                pause_s = self._pauses.min_s
            self._ill(name, f"{name}: {problem}; it is restarted (the log has the details)")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._pauses.max_s)

    async def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # whatever it is: nobody else would see it
            log.exception("%s: %s failed", self._part, name)
            self._ill(name, f"{name}: {describe(error)} (the log has the details)")
            asyncio.get_running_loop().call_later(self._pauses.steady_s, self._well, name)

    def _ill(self, name: str, detail: str) -> None:
        self.ends += 1
        self._troubles[name] = detail
        self._on_problem(detail)

    def _well(self, name: str) -> None:
        if self._troubles.pop(name, None) is not None:
            self._on_problem(next(iter(self._troubles.values()), ""))


@final
class HealthSources:
    """Several sources that speak of one part: it is well when all of them say so."""

    def __init__(self, on_problem: ProblemListener) -> None:
        self._on_problem = on_problem
        self._details: list[str] = []
        self._said = ""

    def source(self) -> ProblemListener:
        """Returns what one more source reports its problems to."""
        number = len(self._details)
        self._details.append("")

        def on_problem(detail: str) -> None:
            self._details[number] = detail
            detail = next(filter(None, self._details), "")
            if detail != self._said:
                self._said = detail
                self._on_problem(detail)

        return on_problem


@contextlib.asynccontextmanager
async def gathered() -> AsyncIterator[asyncio.TaskGroup]:
    """As `asyncio.TaskGroup`, but raises what was raised first, as it was raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


async def within(work: Awaitable[Result], timeout_s: float | None) -> Result:
    """Returns what `work` comes to within `timeout_s` seconds; `None` waits for ever.

    For `asyncio.wait_for`, which on Python 3.11 loses a cancellation that arrives in the turn in which the work is
    done: whoever cancelled a task and waits for its end would then wait for ever.

    Raises:
        TimeoutError: it took longer, and was cancelled.
        Exception: what the work raised.
    """
    async with asyncio.timeout(timeout_s):
        return await work


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs all of them until one ends, and then ends the others.

    Raises:
        Exception: what it was that the first of them raised, as it was raised: `except*` and groups are not needed.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)
    for task in done:
        task.result()


async def unless(work: Awaitable[Result], end: Awaitable[object]) -> Result:
    """Returns what `work` comes to, unless `end` comes first; then the work is cancelled.

    Raises:
        OvertakenError: `end` came first.
        Exception: what either of them raised.
    """
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(end)
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        ending.result()
        raise OvertakenError
    finally:
        await _cancel([working, ending])


async def _cancel(tasks: list[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:  # looked at, so that asyncio does not say later that nobody did
        if not task.cancelled():
            task.exception()
