"""Several inferences at once in the llama.cpp engine, with the real default model."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.adapters.llama.protocol import Done
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.ports import InferenceResult
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.llm

SLOTS = 3
GREEDY = Sampling(max_output_tokens=12, temperature=0.0)
PROMPTS = [
    "What is the capital of France",
    "Name three fruits.",
    "Why is the sky blue?",
    "Count to ten.",
    "Say hello.",
]
LONG = Sampling(max_output_tokens=400, temperature=0.0)


def request(text: str, sampling: Sampling = GREEDY, *, stream: bool = False) -> StartInference:
    return StartInference(text, (ChatMessage(Role.USER, text),), (), sampling, stream)


@pytest.fixture
async def engine(default_model: Path) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(default_model, threads=1, context_tokens=1024, slots=SLOTS)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def kept_of(engine: LlamaEngine, call: StartInference) -> tuple[InferenceResult, int]:
    """Infers; returns also how many tokens of the prompt were in the cache already, by the child's word."""
    child = engine._kept.process
    assert child is not None
    heard, kept = child._heard, []

    def listen(message: object) -> None:
        if isinstance(message, Done):
            kept.append(message.input_tokens_kept)
        heard(message)  # type: ignore[arg-type]  # handed on as it came

    child._heard = listen  # type: ignore[method-assign]  # for this call
    try:
        return await engine.infer(call, None), kept[-1]
    finally:
        child._heard = heard  # type: ignore[method-assign]  # as it was


async def begun(engine: LlamaEngine, text: str) -> asyncio.Task[InferenceResult]:
    """Begins a long inference; returns when its first text has come."""
    first = asyncio.Event()
    task = asyncio.create_task(engine.infer(request(text, LONG, stream=True), lambda text: first.set()))
    async with asyncio.timeout(PATIENCE_S):
        await first.wait()
    return task


async def test_several_at_once_answer_each_its_own_prompt(engine: LlamaEngine) -> None:
    alone = [await engine.infer(request(text), None) for text in PROMPTS[:SLOTS]]
    beside = await asyncio.gather(*(engine.infer(request(text), None) for text in PROMPTS[:SLOTS]))
    assert [one.input_tokens for one in beside] == [one.input_tokens for one in alone]
    assert "Paris" in beside[0].text
    # Batches of other sizes differ in the last bits of their sums, so a near tie may fall the other way: their texts
    # need not be those of before to the letter.
    assert len({one.text for one in beside}) == SLOTS


async def test_a_new_one_joins_in_the_midst_of_another_and_may_end_before_it(engine: LlamaEngine) -> None:
    long = await begun(engine, "Count from one to a thousand, in words.")
    short = await engine.infer(request(PROMPTS[0]), None)
    assert "Paris" in short.text
    assert not long.done()
    long.cancel()
    await asyncio.wait([long])


async def test_a_cancelled_one_leaves_the_others_alone(engine: LlamaEngine) -> None:
    pid = engine.child_pid
    first, second = await begun(engine, "Count from one to a thousand."), await begun(engine, "Write a long story.")
    first.cancel()
    await asyncio.wait([first])
    third = await engine.infer(request(PROMPTS[0]), None)
    assert "Paris" in third.text
    assert not second.done()
    second.cancel()
    await asyncio.wait([second])
    assert (engine.child_pid, engine.restarts) == (pid, 0)


async def test_a_cancel_while_a_long_prompt_is_read_spares_its_work_and_the_others_answers(engine: LlamaEngine) -> None:
    assert engine.child_pid is not None
    child = psutil.Process(engine.child_pid)
    one_token = replace(GREEDY, max_output_tokens=1, seed=1)
    before = child.cpu_times().user
    await engine.infer(request("cat " * 900, one_token), None)
    whole_s = child.cpu_times().user - before
    beside = asyncio.create_task(engine.infer(request(PROMPTS[0]), None))
    before = child.cpu_times().user
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(whole_s / 10):
            await engine.infer(request("dog " * 900, one_token), None)
    assert "Paris" in (await beside).text
    assert child.cpu_times().user - before < whole_s / 2 + 1.0  # CPU time: some of the long prompt, and the short one
    assert engine.restarts == 0


async def test_one_that_cannot_be_done_fails_alone(engine: LlamaEngine) -> None:
    long = await begun(engine, "Count from one to a thousand.")
    with pytest.raises(EngineError):
        await engine.infer(StartInference("empty", (), (), GREEDY, False), None)
    assert not long.done()
    long.cancel()
    await asyncio.wait([long])


async def test_more_requests_than_slots_wait_for_one_and_all_are_done(engine: LlamaEngine) -> None:
    results = await asyncio.gather(*(engine.infer(request(text), None) for text in PROMPTS))
    assert all(result.text for result in results)


async def test_a_child_that_dies_costs_each_of_its_inferences_one_failure(engine: LlamaEngine) -> None:
    running = [await begun(engine, f"Count from {number} to a thousand.") for number in range(SLOTS)]
    assert engine.child_pid is not None
    psutil.Process(engine.child_pid).kill()
    ends = await asyncio.gather(*running, return_exceptions=True)
    assert [isinstance(end, EngineError) and end.retryable for end in ends] == [True] * SLOTS
    results = await asyncio.gather(*(engine.infer(request(text), None) for text in PROMPTS[:SLOTS]))
    assert all(result.text for result in results)
    assert engine.restarts == 1


async def test_the_next_turn_of_a_chat_reads_only_what_is_new(engine: LlamaEngine) -> None:
    chats = [[ChatMessage(Role.USER, text)] for text in PROMPTS[:2]]
    read_before = [0, 0]
    for turn in range(3):
        for number, chat in enumerate(chats):
            result, kept = await kept_of(engine, StartInference("chat", tuple(chat), (), GREEDY, False))
            # All of the turn before; of its answer's end the template may make other tokens.
            assert kept >= read_before[number] > 0 or turn == 0
            read_before[number] = result.input_tokens
            chat += [ChatMessage(Role.ASSISTANT, result.text), ChatMessage(Role.USER, f"And number {turn}?")]
    again = await kept_of(engine, StartInference("chat", tuple(chats[0]), (), replace(GREEDY, seed=3), False))
    assert again[1] == 0, "with a seed nothing is reused"


async def test_the_same_seed_alone_gives_the_same_text(engine: LlamaEngine) -> None:
    seeded = Sampling(max_output_tokens=12, temperature=1.5, seed=11)
    first = await engine.infer(request("Tell a story.", seeded), None)
    await asyncio.gather(*(engine.infer(request(text), None) for text in PROMPTS[:SLOTS]))
    again = await engine.infer(request("Tell a story.", seeded), None)
    other = await engine.infer(request("Tell a story.", replace(seeded, seed=12)), None)
    assert first.text == again.text != other.text
