"""One model process as its parent sees it: starting, talking, noticing that it hangs or has ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass
from typing import final

from edge_agent import children
from edge_agent.adapters.llama.protocol import (
    MESSAGE_BYTES_MAX,
    Cancel,
    Cancelled,
    Done,
    Failed,
    FromChild,
    Infer,
    Load,
    LoadFailed,
    Ready,
    decode_from_child,
    encode,
)
from edge_agent.children import OutputTail
from edge_agent.confinement import confined_environment
from edge_agent.core.errors import EngineError
from edge_agent.engines.obituary import how_it_ended
from edge_agent.hangs import LOOK_S, HangDetector, HangError
from edge_agent.tasks import unless

WORKER_MODULE = "edge_agent.adapters.llama.worker"
STDERR_BYTES_KEPT = 4096  # a failed assertion with its place, for the error message
UNWATCHED_SHARE = 0.3  # of the time without a sign of life nobody looks what it does: signs come with every token
CLOSE_TIMEOUT_S = 1.0  # an idle child ends in milliseconds; one that doesn't has nothing to save


@final
@dataclass(frozen=True, slots=True)
class LoadBounds:
    """What a load may take, in seconds: of standing still, of computing, in all. See `edge_agent.hangs`."""

    still_max_s: float
    computed_max_s: float
    waited_max_s: float


class Child:
    """A running model process. Made by `start`; whoever has one must `close` it."""

    def __init__(self, process: children.Child, stall_timeout_s: float) -> None:
        self._process = process
        self._stall_timeout_s = stall_timeout_s
        self._inbox: asyncio.Queue[FromChild | None] = asyncio.Queue()  # of the load
        self._inboxes: dict[int, asyncio.Queue[FromChild | None]] = {}  # of each request that somebody waits for
        self._owed_ids: set[int] = set()
        self._watchdog: asyncio.TimerHandle | None = None
        self._killed_for = ""
        self._words = OutputTail(STDERR_BYTES_KEPT)
        self._reading = asyncio.create_task(self._read(), name="llama-child")
        self._is_loaded = False
        self.ended = False
        """The process is gone, or was killed: whoever sends to it now learns so from `receive`."""
        self.open_doors = ""
        """What does not confine it on this machine, in words."""
        self.completed = 0
        """Requests that it has done to their end."""

    @classmethod
    async def start(cls, load: Load, *, loading: LoadBounds, stall_timeout_s: float) -> Child:
        """Starts a process and waits until its model is loaded.

        Raises:
            EngineError: the model does not load (not retryable), or the process died or hung while loading (retryable).
        """
        child = cls(await _spawn(), stall_timeout_s)
        try:
            child._write(load)
            detector = HangDetector(
                lambda: [child.pid],
                loading.still_max_s,
                computed_max_s=loading.computed_max_s,
                waited_max_s=loading.waited_max_s,
            )
            first = await unless(child._inbox.get(), detector.found())
            if isinstance(first, LoadFailed):
                raise EngineError(first.detail, retryable=False)
            if not isinstance(first, Ready):
                raise EngineError(child.obituary(), retryable=True)
            child.open_doors = first.open_doors
        except HangError as error:
            await child.close()
            raise EngineError(f"the model does not load: its process {error}", retryable=True) from None
        except BaseException:
            await child.close()
            raise
        return child

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def send_request(self, request: Infer) -> None:
        """Hands over a request; waits while the pipe is full. `leave` it in the end."""
        inbox = self._inboxes[request.id] = asyncio.Queue()
        if self.ended:
            inbox.put_nowait(None)
        self._owed_ids.add(request.id)
        if len(self._owed_ids) == 1:  # a child that owes an earlier answer already has its time running
            self._restart_watchdog()
        self._write(request)
        with contextlib.suppress(OSError):  # a closed pipe: the reader tells it, with the reason
            await self._drain()

    async def receive(self, request_id: int) -> FromChild:
        """Returns the next message about a request.

        Raises:
            EngineError: the process has ended, or hung and was killed.
        """
        message = await self._inboxes[request_id].get()
        if message is None:
            raise EngineError(self.obituary(), retryable=True)
        return message

    def leave(self, request_id: int) -> None:
        """Nobody waits for a request any more: if it has had no end, the child is told to stop with it. Does not wait;
        the watchdog sees to it that it happens."""
        self._inboxes.pop(request_id, None)
        if request_id in self._owed_ids:
            self._write(Cancel(request_id))

    async def wait_ended(self) -> None:
        """Returns when the process is gone."""
        await asyncio.shield(self._reading)

    async def close(self) -> None:
        """Ends the process: politely, then by force. May be called twice."""
        self._stop_watchdog()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(self._reading)
        except TimeoutError:
            self._kill()
        finally:
            if not self._reading.done():
                self._kill()
        await self._reading

    def obituary(self) -> str:
        """How the process ended, in one line."""
        if self._killed_for:
            return f"the model process {self._killed_for} and was killed"
        last_words = self._words.lines()
        return f"the model process {how_it_ended(self._process.status, last_words[-1].strip() if last_words else '')}"

    async def _read(self) -> None:
        """Reads all that comes, until the process is gone. However it ends, whoever waits for a word is told."""
        errors = asyncio.create_task(self._process.hear(self._words.add, self._process.errors))
        try:
            while line := await self._process.output.reader.readline():
                self._heard(decode_from_child(line))
        except (
            ValueError,
            OSError,
        ) as error:  # unreadable, or longer than a message may be: not to be trusted any more
            self._killed_for = f"said something that is no message ({error})"
        except Exception as error:  # a defect of ours must not leave anybody waiting
            self._killed_for = f"could not be listened to ({error!r})"
        try:
            if self._killed_for:
                self._kill()
            await self._end_within(CLOSE_TIMEOUT_S)
            await errors
        finally:
            self._process.close()
            self._stop_watchdog()
            self.ended = True
            for inbox in (self._inbox, *self._inboxes.values()):
                inbox.put_nowait(None)

    async def _end_within(self, seconds: float) -> None:
        """Returns when the process is gone, which it must be soon: nothing more can come of it."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self._killed_for = self._killed_for or "closed its output"
            self._kill()
            await self._process.wait()

    def _heard(self, message: FromChild) -> None:
        if isinstance(message, Ready | LoadFailed):
            if self._is_loaded:
                raise ValueError("it loads twice")
            self._is_loaded = True
            self._inbox.put_nowait(message)
            return
        if message.id not in self._owed_ids:  # before a request, after its end, of another life
            raise ValueError(f"nothing is owed for {message.id}")
        if isinstance(message, Done):
            self.completed += 1
        if isinstance(message, Done | Cancelled | Failed):
            self._owed_ids.discard(message.id)
        inbox = self._inboxes.get(message.id)
        if inbox is not None:
            inbox.put_nowait(message)
        self._restart_watchdog()

    def _restart_watchdog(self) -> None:
        self._stop_watchdog()
        if self._owed_ids:
            quiet_s = UNWATCHED_SHARE * self._stall_timeout_s
            self._watchdog = asyncio.get_running_loop().call_later(quiet_s, self._watch)

    def _watch(self) -> None:
        """Nothing was heard for a while: from now on it is looked at what the child does."""
        still_max_s = (1.0 - UNWATCHED_SHARE) * self._stall_timeout_s
        self._look(HangDetector(lambda: [self.pid], still_max_s))

    def _look(self, detector: HangDetector) -> None:
        if how := detector.look():
            self._killed_for = f"made no progress: it {how}"
            self._kill()
        else:
            self._watchdog = asyncio.get_running_loop().call_later(LOOK_S, self._look, detector)

    def _stop_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _kill(self) -> None:
        self.ended = True  # nothing more is handed to it, though it takes a moment to die
        self._process.send_signal(signal.SIGKILL)

    def _write(self, message: Load | Infer | Cancel) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode(message))

    async def _drain(self) -> None:
        if self._process.stdin is not None:
            await self._process.stdin.drain()


async def _spawn() -> children.Child:
    try:
        return await children.Child.start(
            [sys.executable, "-P", "-m", WORKER_MODULE],  # -P: what lies in the working directory is not ours to import
            environment=confined_environment(),
            stdin=asyncio.subprocess.PIPE,
            errors_apart=True,
            line_bytes_max=MESSAGE_BYTES_MAX,
        )
    except OSError as error:  # no memory or no process left just now
        raise EngineError(f"the model process does not start: {error.strerror}", retryable=True) from error
