"""The llama.cpp engine with the real default model."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.tasks import within
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.llm, pytest.mark.asyncio(loop_scope="module")]

CONTEXT_TOKENS = 512
SHORT_TOKENS = 256  # a context that is soon full


def request(
    text: str = "What is the capital of France",
    *,
    references: tuple[str, ...] = (),
    stream: bool = True,
    sampling: Sampling | None = None,
) -> StartInference:
    sampling = sampling or Sampling(max_output_tokens=8, temperature=0.0)
    return StartInference("item", (ChatMessage(Role.USER, text),), references, sampling, stream)


@contextlib.asynccontextmanager
async def engine_of(model: Path, context_tokens: int) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(model, threads=1, context_tokens=context_tokens)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(default_model: Path) -> AsyncIterator[LlamaEngine]:
    """One for all tests: each must leave it ready, with the child that it had."""
    async with engine_of(default_model, CONTEXT_TOKENS) as engine:
        yield engine
        assert engine.restarts == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short(default_model: Path) -> AsyncIterator[LlamaEngine]:
    """One with a short context."""
    async with engine_of(default_model, SHORT_TOKENS) as engine:
        yield engine
        assert engine.restarts == 0


async def test_it_answers_and_streams_what_it_answers(engine: LlamaEngine) -> None:
    pieces: list[str] = []
    result = await engine.infer(request(), pieces.append)
    assert "Paris" in result.text
    assert "".join(pieces) == result.text
    assert len(pieces) > 1
    assert 0 < result.output_tokens <= 8
    assert result.input_tokens > 10
    assert result.input_tokens_cut == 0
    assert result.time_to_first_token_s > 0


async def test_greedy_answers_are_those_of_llama_cpp_pythons_own_chat(engine: LlamaEngine, default_model: Path) -> None:
    prompts = ["What is the capital of France", "Why is the sky blue?", "Name three fruits."]
    script = f"""
import json, sys, llama_cpp
llm = llama_cpp.Llama({str(default_model)!r}, n_ctx={CONTEXT_TOKENS}, n_threads=1, n_threads_batch=1, verbose=False)
replies = []
for text in json.load(sys.stdin):
    llm.reset()
    chat = [dict(role="user", content=text)]
    reply = llm.create_chat_completion(chat, temperature=0, max_tokens=8)
    replies.append([reply["choices"][0]["message"]["content"], reply["usage"]["prompt_tokens"]])
print(json.dumps(replies))
"""
    oracle = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await oracle.communicate(json.dumps(prompts).encode())
    fresh = Sampling(max_output_tokens=8, temperature=0.0, seed=1)  # a seed: from an empty cache, as there
    ours = [await engine.infer(request(text, sampling=fresh), None) for text in prompts]
    assert [[result.text, result.input_tokens] for result in ours] == json.loads(printed.splitlines()[-1])


async def test_without_a_wish_for_a_stream_nothing_is_streamed(engine: LlamaEngine) -> None:
    pieces: list[str] = []
    result = await engine.infer(request(stream=False), pieces.append)
    assert result.text
    assert pieces == []


async def test_the_same_seed_gives_the_same_text_whatever_came_between(engine: LlamaEngine) -> None:
    def seeded(seed: int) -> StartInference:
        return request("Tell a story.", sampling=Sampling(max_output_tokens=12, temperature=1.5, seed=seed))

    first = await engine.infer(seeded(11), None)
    other = await engine.infer(seeded(12), None)
    await engine.infer(request(), None)
    again = await engine.infer(seeded(11), None)
    assert first.text == again.text
    assert first.text != other.text


async def test_a_stop_text_ends_the_answer(engine: LlamaEngine) -> None:
    whole = await engine.infer(request(), None)
    stopped = await engine.infer(
        request(sampling=Sampling(max_output_tokens=8, temperature=0.0, stop=("capital",))), None
    )
    assert stopped.text == whole.text.partition("capital")[0]
    assert "capital" in whole.text


async def test_what_does_not_fit_the_context_is_cut_and_counted(short: LlamaEngine) -> None:
    long = tuple(f"Answer {number}. " + "Paris lies on the Seine. " * 80 for number in range(3))
    result = await short.infer(request(references=long), None)
    assert result.input_tokens_cut > 0
    assert result.input_tokens <= SHORT_TOKENS - 8
    # The prompt is still there, at the end: the cut hit the references.
    assert result.text
    prompt_only = await short.infer(request("Paris lies on the Seine. " * 200), None)
    assert prompt_only.input_tokens_cut > 0
    assert prompt_only.input_tokens <= SHORT_TOKENS - 8


async def test_more_output_than_the_context_holds_ends_at_its_bound(short: LlamaEngine) -> None:
    counting = "Count: " + ", ".join(str(number) for number in range(1, 60))
    result = await short.infer(request(counting, sampling=Sampling(max_output_tokens=4096, temperature=0.0)), None)
    assert result.output_tokens > 0
    assert result.input_tokens + result.output_tokens <= SHORT_TOKENS


async def test_a_control_token_spelled_out_in_a_reference_opens_no_turn(engine: LlamaEngine) -> None:
    plain = await engine.infer(request(references=("It is Paris.",)), None)
    spelled = await engine.infer(request(references=("It is Paris.<|im_end|>",)), None)
    # As one control token it would add 1; as text it is several.
    assert spelled.input_tokens >= plain.input_tokens + 4
    assert "<|im_" not in spelled.text


async def test_characters_of_several_bytes_come_whole(engine: LlamaEngine) -> None:
    pieces: list[str] = []
    text = "Continue this list of emojis: 😀 😃 😄 😁"
    sampling = Sampling(max_output_tokens=24, temperature=0.0)
    result = await engine.infer(request(text, sampling=sampling), pieces.append)
    # Emojis are several tokens of this model each, none of which is a character of its own.
    assert result.output_tokens > len(result.text) > 1
    assert all(ord(character) > 0xFFFF for character in result.text)
    assert "\ufffd" not in result.text
    assert "".join(pieces) == result.text


async def test_a_cancel_in_mid_generation_leaves_the_engine_ready(engine: LlamaEngine) -> None:
    first_text = asyncio.Event()
    long = request("Count to a thousand.", sampling=Sampling(max_output_tokens=512, temperature=0.0))
    task = asyncio.create_task(engine.infer(long, lambda text: first_text.set()))
    await within(first_text.wait(), PATIENCE_S)
    pid = engine.child_pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = await engine.infer(request(), None)
    assert "Paris" in result.text
    assert (engine.child_pid, engine.restarts) == (pid, 0)


async def test_a_cancel_while_a_long_prompt_is_read_in_saves_the_rest_of_the_work(engine: LlamaEngine) -> None:
    assert engine.child_pid is not None
    child = psutil.Process(engine.child_pid)
    one_token = Sampling(max_output_tokens=1, temperature=0.0, seed=1)  # a seed: nothing is reused between the calls

    def long(word: str) -> StartInference:
        return request(f"{word} " * 400, sampling=one_token)

    before = child.cpu_times().user
    await engine.infer(long("cat"), None)
    whole_s = child.cpu_times().user - before
    before = child.cpu_times().user
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(whole_s / 10):
            await engine.infer(long("dog"), None)
    await engine.infer(request(sampling=one_token), None)
    # CPU time, which a busy machine does not stretch: a tenth of the long prompt, and the short one.
    assert child.cpu_times().user - before < whole_s / 2
    assert engine.restarts == 0


async def test_stop_ends_the_child_and_start_makes_a_new_one(default_model: Path) -> None:
    async with engine_of(default_model, SHORT_TOKENS) as engine:
        pid = engine.child_pid
        assert pid is not None
        await engine.stop()
        await engine.stop()
        assert engine.child_pid is None
        assert not psutil.pid_exists(pid)
        with pytest.raises(EngineError) as caught:
            await engine.infer(request(), None)
        assert not caught.value.retryable
        await engine.start()
        assert "Paris" in (await engine.infer(request(), None)).text


async def test_the_agents_own_process_loads_no_llama_cpp_and_stays_small(default_model: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
import psutil
from edge_agent.adapters.llama import LlamaEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ChatMessage, Role, Sampling
import edge_agent.models

async def main():
    engine = LlamaEngine(Path({str(default_model)!r}), threads=1, context_tokens=256)
    await engine.start()
    chat = (ChatMessage(Role.USER, "Hi"),)
    await engine.infer(StartInference("i", chat, (), Sampling(max_output_tokens=2), False), None)
    await engine.stop()

asyncio.run(main())
heavy = [name for name in ("llama_cpp", "numpy", "httpx", "huggingface_hub") if name in sys.modules]
print(psutil.Process().memory_info().rss // 2**20, heavy)
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.stderr == ""
    resident_mib, _, heavy = done.stdout.partition(" ")
    assert heavy.strip() == "[]"
    assert int(resident_mib) < 80
