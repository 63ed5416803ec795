"""The engine driver: order, cancelling, and text that UTF-8 cannot carry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.events import Event, InferenceCompleted, InferenceFailed, TextGenerated
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.runtime.engine_driver import EngineDriver
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

TURNS = 10  # of the loop: more than a task takes to begin


class ScriptedEngine:
    """An engine that says what a test wants, piece by piece, each after `step` was set."""

    card = ModelCard("scripted", "test", synthetic=True)

    def __init__(self, pieces: list[str], error: EngineError | None = None, slots: int = 1) -> None:
        self.slots = slots
        self._pieces = pieces
        self._error = error
        self.step = asyncio.Event()
        self.running = 0
        self.most_running = 0

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        assert self.running <= self.slots, "more inferences at once than slots"
        try:
            for piece in self._pieces:
                await self.step.wait()
                if on_text:
                    on_text(piece)
            if self._error:
                raise self._error
            return InferenceResult("".join(self._pieces), 1, len(self._pieces), 0, 0.0)
        finally:
            self.running -= 1

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Nothing to say."""

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""


def request(item_id: str, stream: bool = True) -> StartInference:
    return StartInference(item_id, (ChatMessage(Role.USER, "why?"),), (), Sampling(), stream)


async def events_of(engine: ScriptedEngine, *requests: StartInference) -> list[Event]:
    inbox: asyncio.Queue[Event] = asyncio.Queue(1)  # the smallest there is: the driver has to wait for its reader
    driver = EngineDriver(engine, inbox.put)
    for one in requests:
        driver.start(one)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    engine.step.set()
    events: list[Event] = []
    ends = 0
    async with asyncio.timeout(PATIENCE_S):
        while ends < len(requests):
            events.append(await inbox.get())
            ends += not isinstance(events[-1], TextGenerated)
    await driver.stop()
    return events


async def test_all_text_is_passed_on_in_order_before_the_end_even_if_the_inbox_is_full() -> None:
    pieces = [f"{number} " for number in range(100)]
    events = await events_of(ScriptedEngine(pieces), request("#1"))
    assert "".join(event.text for event in events if isinstance(event, TextGenerated)) == "".join(pieces)
    assert isinstance(events[-1], InferenceCompleted)


async def test_an_item_that_is_not_streamed_brings_its_end_only() -> None:
    events = await events_of(ScriptedEngine(["a", "b"]), request("#1", stream=False))
    assert [type(event) for event in events] == [InferenceCompleted]


async def test_what_utf8_cannot_carry_is_replaced() -> None:
    events = await events_of(ScriptedEngine(["half \ud83d"]), request("#1"))
    for event in events:
        assert isinstance(event, TextGenerated | InferenceCompleted)
        event.text.encode()
        assert event.text == "half ?"


async def test_an_engine_error_becomes_a_failure_with_its_detail() -> None:
    events = await events_of(ScriptedEngine([], EngineError("gone", retryable=True)), request("#1"))
    assert events == [InferenceFailed("#1", "gone", retryable=True)]


async def test_one_inference_has_left_the_engine_before_the_next_begins() -> None:
    events = await events_of(ScriptedEngine(["a"]), request("#1", stream=False), request("#2", stream=False))
    assert [event.item_id for event in events if isinstance(event, InferenceCompleted)] == ["#1", "#2"]


async def test_no_event_follows_a_cancel() -> None:
    inbox: asyncio.Queue[Event] = asyncio.Queue()
    engine = ScriptedEngine(["a", "b"])
    driver = EngineDriver(engine, inbox.put)
    driver.start(request("#1"))
    await asyncio.sleep(0)
    driver.cancel("#1")
    engine.step.set()
    driver.start(request("#2", stream=False))
    async with asyncio.timeout(PATIENCE_S):
        event = await inbox.get()
    assert isinstance(event, InferenceCompleted)
    assert event.item_id == "#2"
    assert inbox.empty()
    await driver.stop()


async def test_as_many_inferences_run_at_once_as_the_engine_has_slots() -> None:
    engine = ScriptedEngine(["a"], slots=3)
    events = await events_of(engine, *(request(f"#{number}", stream=False) for number in range(7)))
    assert engine.most_running == 3
    ended = [event.item_id for event in events if isinstance(event, InferenceCompleted)]
    assert sorted(ended) == [f"#{number}" for number in range(7)]


async def test_a_cancelled_inference_leaves_its_slot_to_the_next_and_the_others_alone() -> None:
    inbox: asyncio.Queue[Event] = asyncio.Queue()
    engine = ScriptedEngine(["a"], slots=2)
    driver = EngineDriver(engine, inbox.put)
    for number in range(3):
        driver.start(request(f"#{number}", stream=False))
    await until(lambda: engine.running == 2, "both slots are taken")
    driver.cancel("#0")
    engine.step.set()
    async with asyncio.timeout(PATIENCE_S):
        ended = {(await inbox.get()).item_id for _ in range(2)}  # type: ignore[union-attr]  # only ends come
    assert ended == {"#1", "#2"}
    assert engine.most_running == 2
    await driver.stop()
