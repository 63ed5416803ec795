"""A process that holds a model, kept alive: started again when it ends, with growing pauses, for ever.

What the process is, and how one talks to it, is the engine's own affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar, final

from edge_agent.core.errors import EngineError

log = logging.getLogger(__name__)

START_ATTEMPTS_MAX = 3  # a first start may meet a passing shortage of memory; a third failure will not pass
RELOAD_QUIET_S = 10.0  # a reload out of the page cache takes a second or two, worth waiting for; a longer one is told
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0  # a process that dies at once must not keep the device busy with loading; it is tried for ever
HEALTHY_AFTER_S = 60.0  # a process that lived this long, or did a request, did not die of its start


class ModelProcess(Protocol):
    """One life of a process with a loaded model."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    @property
    def ended(self) -> bool:
        """It is gone, or about to be: nothing more is asked of it."""
        ...

    @property
    def completed(self) -> int:
        """Requests that it has done to their end."""
        ...

    async def wait_ended(self) -> None:
        """Returns when it is gone."""
        ...

    async def close(self) -> None:
        """Ends it. May be called twice."""
        ...

    def obituary(self) -> str:
        """How it ended, in one line."""
        ...


Process = TypeVar("Process", bound=ModelProcess)


@final
class KeptAlive(Generic[Process]):
    """Keeps one process of a kind alive, from `start` to `stop`.

    load: starts a process and returns it once its model is loaded; raises `EngineError`, retryable if another try may
        succeed.
    reload_quiet_s: how long a new process may load before it is said that this device cannot infer.
    """

    def __init__(self, load: Callable[[], Awaitable[Process]], reload_quiet_s: float = RELOAD_QUIET_S) -> None:
        self._load = load
        self._reload_quiet_s = reload_quiet_s
        self._on_health: Callable[[str], None] = lambda detail: None
        self._trouble = ""
        self._is_started = False
        self._process: Process | None = None
        self._changed = asyncio.Condition()
        self._attempts = 0
        self._last_error: EngineError | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._lives = 0
        self.restarts = 0
        """How often a new process has taken the place of one that died."""

    @property
    def process(self) -> Process | None:
        """The process that serves now; `None` while there is none."""
        return self._process

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told when the process does not come back, and "" when it has."""
        self._on_health = on_health

    async def start(self) -> None:
        """Starts a process; returns when its model is loaded. Does nothing if it was started already.

        Raises:
            EngineError: it never will load, or three starts failed. Nothing is left running.
        """
        if self._supervisor is not None:
            return
        self._last_error, self._trouble, self._is_started = None, "", False
        self._supervisor = asyncio.create_task(self._supervise(), name="model process")
        error: EngineError | None = None
        for _ in range(START_ATTEMPTS_MAX):
            try:
                await self.live()
            except EngineError as caught:
                error = caught
                if not caught.retryable:
                    break
            except BaseException:
                await self.stop()
                raise
            else:
                self._is_started = True
                return
        await self.stop()
        raise EngineError(error.detail if error else "the model did not start", retryable=False)

    async def stop(self) -> None:
        """Ends the process and its supervision. May be called at any time, also twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
            await self._tell()

    async def live(self) -> Process:
        """Waits for a process that can infer, through at most one more attempt to start one, and while it is quick.

        Raises:
            EngineError: there is none, and why.
        """
        if self._supervisor is None:
            raise EngineError("the engine is not running", retryable=False)
        attempts_before = self._attempts

        def decided() -> bool:
            failed = self._attempts > attempts_before or bool(self._trouble)
            return self._usable() is not None or failed or self._supervisor is None

        async with self._changed:
            await self._changed.wait_for(decided)
        process = self._usable()
        if process is not None:
            return process
        if self._trouble:
            raise EngineError(self._trouble, retryable=False)
        raise self._last_error or EngineError("the engine was stopped", retryable=False)

    def _usable(self) -> Process | None:
        """The process, unless it has ended and its supervisor is about to notice."""
        return self._process if self._process is not None and not self._process.ended else None

    async def _supervise(self) -> None:
        """Keeps a process alive until cancelled. A load that fails is tried again for ever: memory comes back, and a
        file is copied anew."""
        pause_s = BACKOFF_FIRST_S
        try:
            while True:
                try:
                    lived = await self._run_one()
                except Exception as error:  # a defect of ours costs this attempt, not all to come
                    log.error("the supervision of the model process stumbled: %r", error)
                    await self._failed(
                        EngineError(f"the model process cannot be looked after: {error!r}", retryable=True)
                    )
                    lived = False
                pause_s = BACKOFF_FIRST_S if lived else min(2 * pause_s, BACKOFF_MAX_S)
                await asyncio.sleep(pause_s)
        finally:
            await self._tell()

    async def _run_one(self) -> bool:
        """Starts a process and stays with it until it ends; says whether it was a healthy one."""
        loop = asyncio.get_running_loop()
        slow = loop.call_later(self._reload_quiet_s, self._loads_slowly)
        try:
            process = await self._load()
        except EngineError as error:
            await self._failed(error)
            return False
        finally:
            slow.cancel()
        born = loop.time()
        self.restarts += 1 if self._lives else 0
        self._lives += 1
        self._process, self._last_error = process, None
        self._attempts += 1
        self._set_trouble("")
        try:  # from here on, whatever happens, the process gets closed
            await self._tell()
            await process.wait_ended()
        finally:
            self._process = None
            await process.close()
        self._last_error = EngineError(process.obituary(), retryable=True)
        log.warning("%s; the model is loaded again", process.obituary())
        return process.completed > 0 or loop.time() - born >= HEALTHY_AFTER_S

    async def _failed(self, error: EngineError) -> None:
        """Notes a load that failed. At the first start the caller of `start` hears of it, later whoever watches."""
        self._last_error = error
        self._attempts += 1
        if self._is_started:
            self._set_trouble(f"{error.detail} (loading is tried again)")
        await self._tell()

    def _loads_slowly(self) -> None:
        if self._is_started:
            why = self._last_error.detail if self._last_error else "the model process ended"
            self._set_trouble(f"{why}; the model is being loaded again")
            self._telling = asyncio.create_task(self._tell())

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_health(trouble)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
