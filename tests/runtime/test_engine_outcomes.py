"""Exactly one outcome for every start, whatever an engine raises, returns or does with a cancel."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from edge_agent.adapters.synthetic import SyntheticEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.events import Event, HealthChanged, InferenceCompleted, InferenceFailed
from edge_agent.core.health import Part
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.runtime.engine_health import EngineHealth
from edge_agent.service_time import parse_service
from tests.runtime.inferences import INBOX_MAX, driven, request
from tests.support.polling import until

OnText = Callable[[str], None] | None
Behaviour = Callable[[StartInference, OnText], Awaitable[Any]]
GOOD = InferenceResult("Paris", 3, 1, 0, 0.1)


async def good(_request: StartInference, on_text: OnText) -> InferenceResult:
    if on_text:
        on_text("Paris")
    return GOOD


class Engine:
    """An engine that does what a test wants."""

    card = ModelCard("scripted", "test", synthetic=True)

    def __init__(self, behaviour: Behaviour, slots: int = 1) -> None:
        self.slots = slots
        self.behaviour = behaviour
        self.inside = 0
        self.tell: Callable[[str], None] = lambda detail: None
        self.trials = 0

    def watch(self, on_health: Callable[[str], None]) -> None:
        self.tell = on_health

    async def infer(self, request: StartInference, on_text: OnText) -> Any:
        self.inside += 1
        self.trials += request.item_id == "trial"
        assert self.inside <= self.slots, "more inferences at once than slots"
        try:
            return await self.behaviour(request, on_text)
        finally:
            self.inside -= 1

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""


def raising(error: BaseException) -> Behaviour:
    async def behave(_request: StartInference, on_text: OnText) -> Any:
        await asyncio.sleep(0)
        if on_text:
            on_text("half")
        raise error

    return behave


def returning(result: object) -> Behaviour:
    async def behave(_request: StartInference, on_text: OnText) -> Any:
        return result

    return behave


def writing(piece: Any) -> Behaviour:
    async def behave(_request: StartInference, on_text: OnText) -> Any:
        assert on_text
        on_text(piece)
        return GOOD

    return behave


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class _BaseError(BaseException):
    """Outside of Exception."""


class _Result:
    """Looks like a result until it is looked at."""

    @property
    def text(self) -> str:
        raise KeyError("text")


async def cancels_itself(_request: StartInference, _on_text: OnText) -> Any:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def times_out(_request: StartInference, _on_text: OnText) -> Any:
    async with asyncio.timeout(0):
        await asyncio.sleep(60)


async def fails_in_a_group(_request: StartInference, _on_text: OnText) -> Any:
    async def fail() -> None:
        raise OSError("inside")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await asyncio.sleep(60)


RAISED: dict[str, Behaviour] = {
    "EngineError": raising(EngineError("gone", retryable=True)),
    "EngineError of two lines and escapes": raising(EngineError("go\nne \x1b[31m", retryable=False)),
    "EngineError without words": raising(EngineError(None, retryable=None)),  # type: ignore[arg-type]  # a wrong type
    "AttributeError": raising(AttributeError("'list' object has no attribute 'get'")),
    "TypeError": raising(TypeError("unhashable")),
    "MemoryError": raising(MemoryError()),
    "RecursionError": raising(RecursionError("deep")),
    "OSError": raising(OSError(28, "No space left on device")),
    "StopIteration": raising(StopIteration(1)),
    "StopAsyncIteration": raising(StopAsyncIteration()),
    "UnicodeError": raising(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")),
    "an error without words": raising(_UnspeakableError()),
    "an error of a megabyte": raising(ValueError("x" * 1_000_000)),
    "half a surrogate pair": raising(ValueError("\ud83d")),
    "ExceptionGroup": raising(ExceptionGroup("two", [ValueError("a"), OSError("b")])),
    "BaseExceptionGroup": raising(BaseExceptionGroup("two", [ValueError("a"), _BaseError("b")])),
    "BaseException": raising(_BaseError("b")),
    "SystemExit": raising(SystemExit(3)),
    "GeneratorExit": raising(GeneratorExit()),
    "CancelledError": raising(asyncio.CancelledError()),
    "a task of its own was cancelled": cancels_itself,
    "TimeoutError": times_out,
    "a TaskGroup failed": fails_in_a_group,
    "no result": returning(None),
    "a text": returning("Paris"),
    "text is bytes": returning(replace(GOOD, text=b"Paris")),  # type: ignore[arg-type]  # wrong types, here and below
    "text is null": returning(replace(GOOD, text=None)),  # type: ignore[arg-type]  # wrong on purpose
    "a count is a list": returning(replace(GOOD, input_tokens=[1])),  # type: ignore[arg-type]  # wrong on purpose
    "a count is negative": returning(replace(GOOD, output_tokens=-1)),
    "a count is a boolean": returning(replace(GOOD, output_tokens=True)),
    "a count is a fraction": returning(replace(GOOD, output_tokens=1.0)),  # type: ignore[arg-type]  # wrong on purpose
    "a count is huge": returning(replace(GOOD, input_tokens_cut=10**5000)),
    "a time is no number": returning(replace(GOOD, time_to_first_token_s=math.nan)),
    "a time is infinite": returning(replace(GOOD, time_to_first_token_s=math.inf)),
    "a time is negative": returning(replace(GOOD, time_to_first_token_s=-0.1)),
    "a time is a text": returning(replace(GOOD, time_to_first_token_s="1")),  # type: ignore[arg-type]  # wrong on purpose
    "a result that raises": returning(_Result()),
    "a piece is null": writing(None),
    "a piece is bytes": writing(b"x"),
    "a piece is a list": writing(["x"]),
}


@pytest.mark.parametrize("behaviour", RAISED.values(), ids=RAISED)
async def test_whatever_is_raised_or_returned_is_one_failure_with_one_line_in_the_log(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(behaviour)
    async with driven(engine) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed), end
        assert end.detail.isprintable()
        assert len(end.detail) < 1000
        engine.behaviour = good
        second = await run.end_of("#2")
        assert isinstance(second, InferenceCompleted), second
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1, caplog.text
    assert "\n" not in lines[0].getMessage()


async def swallows_one_cancel(_request: StartInference, _on_text: OnText) -> Any:
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        return GOOD


async def turns_a_cancel_into_an_error(_request: StartInference, _on_text: OnText) -> Any:
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        raise ValueError("interrupted") from None


async def turns_a_cancel_into_a_group(_request: StartInference, _on_text: OnText) -> Any:
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        raise BaseExceptionGroup("all", [_BaseError("a")]) from None


async def writes_when_cancelled(_request: StartInference, on_text: OnText) -> Any:
    try:
        await asyncio.sleep(600)
    finally:
        if on_text:
            on_text("too late")


async def writes_without_end(_request: StartInference, on_text: OnText) -> Any:
    while True:
        await asyncio.sleep(0)
        if on_text:
            on_text("word ")


CANCELLED: dict[str, Behaviour] = {
    "swallowed": swallows_one_cancel,
    "an error": turns_a_cancel_into_an_error,
    "a group": turns_a_cancel_into_a_group,
    "text afterwards": writes_when_cancelled,
    "text without end": writes_without_end,
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("behaviour", CANCELLED.values(), ids=CANCELLED)
async def test_no_event_follows_a_cancel_whatever_the_engine_makes_of_it(behaviour: Behaviour, times: int) -> None:
    engine = Engine(behaviour)
    async with driven(engine) as run:
        run.driver.start(request("#1"))
        await until(lambda: engine.inside == 1, "the engine is at work")
        for _ in range(times):
            run.driver.cancel("#1")
        before = run.pieces
        engine.behaviour = good
        assert isinstance(await run.end_of("#2", stream=False), InferenceCompleted)
        assert [end.item_id for end in run.ends] == ["#2"]
        assert "too late" not in run.texts.get("#1", "")
        assert run.pieces - before <= INBOX_MAX + 1  # what was in the inbox, and one that was being put there


@pytest.mark.parametrize("behaviour", RAISED.values(), ids=RAISED)
async def test_a_cancel_at_the_moment_of_an_error_leaves_no_event_and_a_free_engine(behaviour: Behaviour) -> None:
    engine = Engine(behaviour)
    async with driven(engine) as run:
        for turns in range(6):  # of the loop, from before the task has begun to after its end
            run.driver.start(request(f"#{turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            run.driver.cancel(f"#{turns}")
            heard = len(run.ends)
            engine.behaviour = good
            assert isinstance(await run.end_of(f"good {turns}"), InferenceCompleted)
            assert len(run.ends) <= heard + 2  # its own end may have been on its way when the cancel came
            engine.behaviour = behaviour


# --- health -------------------------------------------------------------------------------------------------------


@dataclass
class Broken:
    """Fails while `broken`; counts what it was asked."""

    broken: bool = True
    asked: int = 0

    async def __call__(self, request: StartInference, on_text: OnText) -> Any:
        self.asked += 1
        if self.broken:
            raise RuntimeError("llama_decode returned -3")
        return await good(request, on_text)


@pytest.fixture
def quick_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.runtime.engine_health.TRIAL_PAUSE_FIRST_S", 0.02)


@pytest.mark.usefixtures("quick_trials")
async def test_an_engine_that_fails_at_everything_is_told_refuses_at_once_and_comes_back_by_itself() -> None:
    behaviour = Broken()
    engine = Engine(behaviour)
    async with driven(engine) as run:
        await run.end_of("#1")
        await run.end_of("#2")
        assert "llama_decode" in await run.health_heard(well=False)
        asked_for_items = behaviour.asked - engine.trials
        end = await run.end_of("#3")
        assert isinstance(end, InferenceFailed)
        assert "cannot infer" in end.detail
        assert not end.retryable
        assert behaviour.asked - engine.trials == asked_for_items  # the engine was not even asked
        behaviour.broken = False
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#4"), InferenceCompleted)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.runtime.engine_health.SILENT_MAX_S", 0.05)


@dataclass
class Hanging:
    """Says nothing and never ends, while `hangs`; at trials only where `trials_too`."""

    trials_too: bool
    hangs: bool = True

    async def __call__(self, request: StartInference, on_text: OnText) -> Any:
        if self.hangs and (self.trials_too or request.item_id != "trial"):
            await asyncio.Event().wait()
        return await good(request, on_text)


@pytest.mark.usefixtures("quick_trials", "impatient")
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_hangs_at_everything_is_told_though_each_item_was_given_up_and_comes_back(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.runtime.engine_driver.TRIAL_TIMEOUT_S", 0.05)
    behaviour = Hanging(trials_too=True)
    engine = Engine(behaviour)
    async with driven(engine) as run:
        run.driver.start(request("#1", stream))
        await asyncio.sleep(0.1)  # twice what it may be silent for
        run.driver.cancel("#1")  # as at its deadline
        assert "did not end" in await run.health_heard(well=False)
        behaviour.hangs = False
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#2"), InferenceCompleted)


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_is_only_slow_is_tried_and_not_told() -> None:
    engine = Engine(Hanging(trials_too=False))
    async with driven(engine) as run:
        run.driver.start(request("#1"))
        await asyncio.sleep(0.1)
        run.driver.cancel("#1")
        await until(lambda: engine.trials == 1 and not engine.inside, "the trial")
        run.driver.start(request("#2"))
        await until(lambda: engine.inside == 1, "the next one begins")
        run.driver.cancel("#2")
        assert run.health == []


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_has_spoken_or_was_hardly_waited_for_is_not_tried() -> None:
    async def talks(_request: StartInference, on_text: OnText) -> Any:
        if on_text:
            on_text("once upon a time")
        await asyncio.Event().wait()

    engine = Engine(talks)
    async with driven(engine) as run:
        run.driver.start(request("#1"))
        await until(lambda: "#1" in run.texts, "its first words")
        await asyncio.sleep(0.1)
        run.driver.cancel("#1")
        run.driver.start(request("#2"))
        await until(lambda: engine.inside == 1 and "#2" in run.texts, "the next one begins")
        assert engine.trials == 0
        await run.driver.stop()
        assert engine.trials == 0


async def test_requests_that_are_themselves_at_fault_do_not_make_an_engine_unwell() -> None:
    async def picky(request: StartInference, on_text: OnText) -> Any:
        if request.item_id.startswith("bad"):
            raise EngineError("the template refuses this chat", retryable=False)
        return await good(request, on_text)

    engine = Engine(picky)
    async with driven(engine) as run:
        for number in range(6):
            assert isinstance(await run.end_of(f"bad {number}"), InferenceFailed)
        assert isinstance(await run.end_of("good"), InferenceCompleted)
        assert engine.trials >= 1
        assert run.health == []


async def test_the_engines_own_word_is_passed_on_and_believed() -> None:
    engine = Engine(good)
    async with driven(engine) as run:
        engine.tell("the model\nfile is gone")
        assert await run.health_heard(well=False) == "the model file is gone"
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed)
        assert "the model file is gone" in end.detail
        engine.tell("")
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#2"), InferenceCompleted)
        assert run.health == ["the model file is gone", ""]


@pytest.mark.usefixtures("quick_trials")
async def test_no_trial_is_made_while_the_engine_itself_says_that_it_cannot() -> None:
    behaviour = Broken()
    engine = Engine(behaviour)
    async with driven(engine) as run:
        await run.end_of("#1")
        await run.end_of("#2")
        await run.health_heard(well=False)
        engine.tell("the server is away")
        await until(lambda: engine.inside == 0 and run.health[-1] == "the server is away", "the trials rest")
        behaviour.broken = False
        before = engine.trials
        for _ in range(20):
            await asyncio.sleep(0.01)  # ten of the quick pauses: trials that went on would be seen
        assert engine.trials <= before + 1  # one may have been on its way
        engine.tell("")
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#3"), InferenceCompleted)


async def test_a_defect_of_the_trial_itself_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.runtime.engine_health.TRIAL_PAUSE_FIRST_S", 0.02)
    told: asyncio.Queue[Event] = asyncio.Queue()
    outcomes: list[str | Exception] = [KeyError("a defect"), ""]

    async def trial() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    health = EngineHealth(told.put, trial)
    for _ in range(2):
        health.inferred("no words")
    first = await told.get()
    assert isinstance(first, HealthChanged)
    assert "a defect" in first.detail
    assert await told.get() == HealthChanged(Part.ENGINE, "")
    await health.stop()


# --- the synthetic engine -----------------------------------------------------------------------------------------


async def test_the_synthetic_engine_leaves_no_event_after_a_cancel_at_any_piece_and_is_free() -> None:
    engine = SyntheticEngine(parse_service("deterministic:20"), stream_chunks=1000)  # pieces every fifth of a second
    async with driven(engine) as run:
        for number in range(5):
            before = run.pieces
            run.driver.start(request(f"#{number}"))
            await until(lambda before=before, number=number: run.pieces >= before + number, "its text")  # type: ignore[misc]  # bound now
            run.driver.cancel(f"#{number}")
        run.driver.start(request("last"))
        await until(lambda: "last" in run.texts, "the next one's text")
        assert run.ends == []


async def test_what_raises_in_a_reader_of_the_synthetic_engines_text_is_the_inferences_end() -> None:
    engine = SyntheticEngine(parse_service("deterministic:0.001"))
    with pytest.raises(KeyError):
        await engine.infer(request("#1"), raises_key_error)
    assert (await engine.infer(request("#2"), None)).text


def raises_key_error(text: str) -> None:
    raise KeyError(text)


@pytest.mark.usefixtures("quick_trials")
async def test_all_slots_failing_once_together_is_one_crash_and_no_reason_to_doubt_the_engine() -> None:
    behaviour = Broken()
    engine = Engine(behaviour, slots=4)
    async with driven(engine) as run:
        await asyncio.gather(*(run.end_of(f"#{number}") for number in range(4)))
        assert engine.trials == 0
        await run.end_of("#4")
        assert "llama_decode" in await run.health_heard(well=False)
        behaviour.broken = False
        await run.health_heard(well=True)


async def test_thoughts_without_an_answer_are_no_response_and_no_sign_of_an_engine_that_is_ill() -> None:
    engine = Engine(returning(InferenceResult("", 3, 8, 0, 0.1, reasoning="Paris or Lyon?")))
    async with driven(engine) as run:
        for number in range(4):
            end = await run.end_of(f"#{number}")
            assert isinstance(end, InferenceFailed)
            assert ("thought" in end.detail, end.retryable) == (True, False)
        assert (engine.trials, run.health) == (0, [])
