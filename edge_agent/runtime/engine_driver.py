"""Runs the engine's inferences as tasks, and turns what comes of them into events: exactly one end for each.

An engine is a program around somebody else's program. Whatever it raises, however it breaks its contract, the item
ends and its slot takes the next one; a defect costs one inference and one line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from math import isfinite

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.events import InferenceCompleted, InferenceFailed, TextGenerated
from edge_agent.core.provenance import FinishReason
from edge_agent.ports import EmitEvent, Engine, InferenceResult
from edge_agent.runtime.engine_health import TRIAL, EngineHealth

COUNT_MAX = 2**53  # of tokens, as on the wire
DETAIL_CHARACTERS_MAX = 500  # of what went wrong, in one line; it travels in answers and stands in tables
TRIAL_TIMEOUT_S = 120.0  # for one token on the slowest useful model, first reading its own template in
ONLY_THOUGHTS = "the model thought until its bound, and wrote no answer"
CANCEL_REPEAT_S = 5.0  # a cancel that an engine has swallowed is said again

log = logging.getLogger(__name__)


class EngineDriver:
    """As many inferences at once as the engine has slots; a cancelled one has left its slot before the next takes it.

    Has the engine watched: `HealthChanged` is emitted when it cannot infer, and when it can again.
    """

    def __init__(self, engine: Engine, emit: EmitEvent) -> None:
        self._engine = engine
        self._emit = emit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(engine.slots)
        self._health = EngineHealth(emit, self._try_engine, engine.slots)
        engine.watch(lambda trouble: self._health.said(_line(trouble)))

    def start(self, request: StartInference) -> None:
        """Begins an inference; `InferenceCompleted` or `InferenceFailed` follows, unless it is cancelled."""
        task = asyncio.create_task(self._run(request), name=f"inference {request.item_id}")
        self._tasks[request.item_id] = task
        task.add_done_callback(lambda done: self._forget(request.item_id, done))

    def cancel(self, item_id: str) -> None:
        """Ends an inference. No event follows for it."""
        task = self._tasks.pop(item_id, None)
        if task is not None:
            self._leaving.add(task)
            task.cancel()

    async def stop(self) -> None:
        """Ends whatever runs. The engine itself is the caller's to stop."""
        await self._health.stop()
        tasks = [*self._tasks.values(), *self._leaving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, item_id: str, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if self._tasks.get(item_id) is task:
            del self._tasks[item_id]
        if not task.cancelled() and task.exception() is not None:
            log.error("the engine driver failed on %s", item_id, exc_info=task.exception())

    async def _run(self, request: StartInference) -> None:
        async with self._free:
            pump = _TextPump(request.item_id, self._emit) if request.stream else None
            try:
                event = await self._end_of(request, pump)
                if pump:
                    await pump.finish()
            except BaseException:
                if pump:
                    pump.drop()
                raise
        await self._emit(event)

    async def _end_of(self, request: StartInference, pump: _TextPump | None) -> InferenceCompleted | InferenceFailed:
        """Does one inference and says how it ended."""
        trouble = self._health.trouble
        if trouble and request is not TRIAL:
            return InferenceFailed(request.item_id, f"this device cannot infer: {trouble}", retryable=False)
        began = asyncio.get_running_loop().time()
        try:
            event = await self._infer(request, pump)
        except asyncio.CancelledError:
            seconds = asyncio.get_running_loop().time() - began
            self._health.given_up(seconds, spoke=pump is not None and pump.spoke)
            raise
        failure = event.detail if isinstance(event, InferenceFailed) else ""
        self._health.inferred("" if failure == ONLY_THOUGHTS else failure)  # an engine that thinks is well
        return event

    async def _infer(self, request: StartInference, pump: _TextPump | None) -> InferenceCompleted | InferenceFailed:
        # In a task of its own: what is raised in it is its result, and our cancel can be told from the engine's own.
        inference = asyncio.create_task(_contained(self._engine, request, pump.put if pump else None))
        try:
            await asyncio.wait([inference])
        except asyncio.CancelledError:
            if pump:
                pump.drop()  # first: whatever the engine still writes is nobody's
            await _leave(inference)
            raise
        if inference.cancelled():
            return _failed(request.item_id, EngineError("the engine stopped by itself", retryable=True))
        error = inference.exception()
        if error is not None:
            return _failed(request.item_id, error)
        try:
            completed = _completed(request.item_id, inference.result())
            if inference.result().reasoning and not completed.text.strip() and request is not TRIAL:
                return InferenceFailed(request.item_id, ONLY_THOUGHTS, retryable=False)
            return completed
        except Exception as wrong:  # it may be any object at all
            return _failed(request.item_id, wrong)

    async def _try_engine(self) -> str:
        """Does the smallest inference, once a slot is free; returns what went wrong."""
        async with self._free:
            try:
                async with asyncio.timeout(TRIAL_TIMEOUT_S):
                    event = await self._infer(TRIAL, None)
            except TimeoutError:
                return f"a trial inference did not end within {TRIAL_TIMEOUT_S:g} s"
        return event.detail if isinstance(event, InferenceFailed) else ""


async def _contained(engine: Engine, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
    try:
        return await engine.infer(request, on_text)
    except SystemExit as error:  # asyncio would end the whole device; that is not an engine's to decide
        raise RuntimeError(f"it tried to end the process: {error}") from error


async def _leave(inference: asyncio.Task[InferenceResult]) -> None:
    """Ends an inference that nobody wants; returns when it has left the engine, whatever it or our caller does."""
    while not inference.done():
        inference.cancel()
        try:
            await asyncio.wait([inference], timeout=CANCEL_REPEAT_S)
        except asyncio.CancelledError:
            continue  # asked again: it is being done
    if not inference.cancelled():
        inference.exception()  # taken, or asyncio would log that nobody did


def _failed(item_id: str, error: BaseException) -> InferenceFailed:
    if isinstance(error, EngineError):
        detail, retryable = _line(error.detail), bool(error.retryable)
        log.warning("inference %s failed: %s", item_id, detail)
    else:
        detail, retryable = f"unexpected error of the engine: {_line(_named(error))}", True
        log.error("inference %s: %s (%s)", item_id, detail, _place(error))
    return InferenceFailed(item_id, detail, retryable)


def _completed(item_id: str, result: InferenceResult) -> InferenceCompleted:
    """Raises if the engine broke its contract: what is no number here would break a peer's codec."""
    if not isinstance(result.text, str):
        raise TypeError(f"text is {type(result.text).__name__}")
    for name in ("input_tokens", "output_tokens", "input_tokens_cut"):
        count = getattr(result, name)
        if type(count) is not int or not 0 <= count <= COUNT_MAX:
            raise ValueError(f"{name} is {_line(repr(count))}")
    first_s = result.time_to_first_token_s
    if isinstance(first_s, bool) or not isinstance(first_s, int | float) or not (isfinite(first_s) and first_s >= 0):
        raise ValueError(f"time_to_first_token_s is {_line(repr(first_s))}")
    return InferenceCompleted(
        item_id=item_id,
        text=_printable(result.text),
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        input_tokens_cut=result.input_tokens_cut,
        time_to_first_token_s=float(first_s),
        finish_reason=FinishReason(result.finish_reason),
    )


class _TextPump:
    """Passes streamed text on in order. While the inbox is full, pieces are joined instead of piling up."""

    def __init__(self, item_id: str, emit: EmitEvent) -> None:
        self._item_id = item_id
        self._emit = emit
        self._pieces: list[str] = []
        self._more = asyncio.Event()
        self._finished = False
        self.spoke = False
        """Whether any text came."""
        self._task = asyncio.create_task(self._pump())

    def put(self, text: str) -> None:
        """Takes a piece; never waits.

        Raises:
            TypeError: it is no text; the engine has broken its contract.
        """
        if not isinstance(text, str):
            raise TypeError(f"a piece of text is {type(text).__name__}")
        self._pieces.append(text)
        self.spoke = True
        self._more.set()

    async def finish(self) -> None:
        """Returns when all text has been passed on."""
        self._finished = True
        self._more.set()
        await self._task

    def drop(self) -> None:
        """Nobody wants the rest."""
        self._task.cancel()

    async def _pump(self) -> None:
        while not self._finished or self._pieces:
            await self._more.wait()
            self._more.clear()
            if self._pieces:
                text = "".join(self._pieces)
                self._pieces.clear()
                await self._emit(TextGenerated(self._item_id, _printable(text)))


def _printable(text: str) -> str:
    """Replaces what UTF-8 cannot carry: a server's JSON may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def _line(said: object) -> str:
    """What went wrong as one printable line, bounded: it may hold somebody else's words."""
    line = " ".join(str(said)[: 2 * DETAIL_CHARACTERS_MAX].split())
    return "".join(mark if mark.isprintable() else "?" for mark in line)[:DETAIL_CHARACTERS_MAX]


def _named(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # even that may raise
        return type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "no place"
