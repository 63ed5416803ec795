"""An engine behind its driver, as a test sees it: what is asked, and every event that comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edge_agent.core.effects import StartInference
from edge_agent.core.events import Event, HealthChanged, InferenceCompleted, InferenceFailed, TextGenerated
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.ports import Engine
from edge_agent.runtime.engine_driver import EngineDriver

END_WITHIN_S = 60.0  # so that only a hang runs into it
TRIES_MAX = 20
INBOX_MAX = 4


def request(item_id: str, stream: bool = True) -> StartInference:
    sampling = Sampling(max_output_tokens=8, temperature=0.0)
    return StartInference(item_id, (ChatMessage(Role.USER, "capital of France?"),), (), sampling, stream)


class Driven:
    """An engine and its driver; `ends` and `health` hold what was heard."""

    def __init__(self, engine: Engine) -> None:
        self.inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX_MAX)  # small: the driver has to wait for its reader
        self.driver = EngineDriver(engine, self.inbox.put)
        self.ends: list[InferenceCompleted | InferenceFailed] = []
        self.texts: dict[str, str] = {}
        self.pieces = 0
        self.health: list[str] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            event = await self.inbox.get()
            match event:
                case InferenceCompleted() | InferenceFailed():
                    self.ends.append(event)
                case TextGenerated(item_id=item_id, text=text):
                    self.pieces += 1
                    self.texts[item_id] = self.texts.get(item_id, "") + text
                case HealthChanged(detail=detail):
                    self.health.append(detail)
            async with self._news:
                self._news.notify_all()

    async def end_of(self, item_id: str, stream: bool = True) -> InferenceCompleted | InferenceFailed:
        """Starts an item and returns its one end."""
        self.driver.start(request(item_id, stream))
        return await self.end_heard(item_id)

    async def end_heard(self, item_id: str) -> InferenceCompleted | InferenceFailed:
        """Waits for the end of an item."""
        async with asyncio.timeout(END_WITHIN_S), self._news:
            await self._news.wait_for(lambda: any(end.item_id == item_id for end in self.ends))
        return next(end for end in self.ends if end.item_id == item_id)

    async def health_heard(self, well: bool) -> str:
        """Waits until the last word on the engine's health is this; returns the word."""
        async with asyncio.timeout(END_WITHIN_S), self._news:
            await self._news.wait_for(lambda: bool(self.health) and bool(self.health[-1]) is not well)
        return self.health[-1]

    async def can_infer(self) -> None:
        """Returns once an inference succeeds, tried a bounded number of times: each has its end, whatever it is."""
        for _ in range(TRIES_MAX):
            end = await self.end_of(f"after {len(self.ends)}")
            if isinstance(end, InferenceCompleted):
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"the engine does not work any more: {end}")

    async def stop(self) -> None:
        await self.driver.stop()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def driven(engine: Engine) -> AsyncIterator[Driven]:
    """Starts an engine behind a driver, and stops both; every item must have had one end by then."""
    run = Driven(engine)
    try:
        await engine.start()
        yield run
    finally:
        await run.stop()
        await engine.stop()
    ended = [end.item_id for end in run.ends]
    assert len(ended) == len(set(ended)), f"two ends: {ended}"
