"""Runs the engine's inferences as tasks, and turns what comes of them into events."""

from __future__ import annotations

import asyncio
import logging

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.events import InferenceCompleted, InferenceFailed, TextGenerated
from edge_agent.ports import EmitEvent, Engine

log = logging.getLogger(__name__)


class EngineDriver:
    """One inference at a time; a cancelled one has left the engine before the next begins."""

    def __init__(self, engine: Engine, emit: EmitEvent) -> None:
        self._engine = engine
        self._emit = emit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._free = asyncio.Lock()

    def start(self, request: StartInference) -> None:
        """Begins an inference; `InferenceCompleted` or `InferenceFailed` follows, unless it is cancelled."""
        task = asyncio.create_task(self._run(request), name=f"inference {request.item_id}")
        self._tasks[request.item_id] = task
        task.add_done_callback(lambda done: self._forget(request.item_id, done))

    def cancel(self, item_id: str) -> None:
        """Ends an inference. No event follows for it."""
        task = self._tasks.pop(item_id, None)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """Ends whatever runs. The engine itself is the caller's to stop."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, item_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(item_id) is task:
            del self._tasks[item_id]
        if not task.cancelled() and task.exception() is not None:
            log.error("the engine driver failed on %s", item_id, exc_info=task.exception())

    async def _run(self, request: StartInference) -> None:
        async with self._free:
            pump = _TextPump(request.item_id, self._emit) if request.stream else None
            event: InferenceCompleted | InferenceFailed
            try:
                result = await self._engine.infer(request, pump.put if pump else None)
                event = InferenceCompleted(
                    item_id=request.item_id,
                    text=_printable(result.text),
                    input_tokens=result.input_tokens,
                    output_tokens=result.output_tokens,
                    input_tokens_cut=result.input_tokens_cut,
                    time_to_first_token_s=result.time_to_first_token_s,
                )
            except EngineError as error:
                log.warning("inference %s failed: %s", request.item_id, error.detail)
                event = InferenceFailed(request.item_id, error.detail, error.retryable)
            except BaseException:
                if pump:
                    pump.drop()
                raise
            if pump:
                await pump.finish()
        await self._emit(event)


class _TextPump:
    """Passes streamed text on in order. While the inbox is full, pieces are joined instead of piling up."""

    def __init__(self, item_id: str, emit: EmitEvent) -> None:
        self._item_id = item_id
        self._emit = emit
        self._pieces: list[str] = []
        self._more = asyncio.Event()
        self._finished = False
        self._task = asyncio.create_task(self._pump())

    def put(self, text: str) -> None:
        """Takes a piece; never waits."""
        self._pieces.append(text)
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
