"""What holds for every engine with a real language model: one table of tests, run against each of the three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge_agent.core.messages import FinishReason, Sampling
from edge_agent.tasks import within
from tests.adapters.engines import ALL, ModelEngine, engine_of, request
from tests.support import odd_models
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.llm, pytest.mark.asyncio(loop_scope="module")]

CONTEXT_TOKENS = 512


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ALL)
async def engine(request: pytest.FixtureRequest, default_model: Path) -> AsyncIterator[ModelEngine]:
    async with engine_of(request.param, default_model, CONTEXT_TOKENS) as engine:
        yield engine


def greedy(max_output_tokens: int, *stops: str) -> Sampling:
    return Sampling(max_output_tokens=max_output_tokens, temperature=0.0, stop=stops)


async def test_it_answers_and_streams_what_it_answers(engine: ModelEngine) -> None:
    pieces: list[str] = []
    result = await engine.infer(request(), pieces.append)
    assert "Paris" in result.text
    assert "".join(pieces) == result.text
    assert len(pieces) > 1
    assert 0 < result.output_tokens <= 8
    assert result.input_tokens == 36  # as the model's own tokenizer counts this prompt in its template
    assert result.input_tokens_cut == 0
    assert result.time_to_first_token_s > 0
    assert result.reasoning == ""


async def test_without_a_wish_for_a_stream_nothing_is_streamed(engine: ModelEngine) -> None:
    pieces: list[str] = []
    result = await engine.infer(request(stream=False), pieces.append)
    assert result.text
    assert pieces == []


async def test_the_same_seed_gives_the_same_text_and_another_one_another(engine: ModelEngine) -> None:
    def seeded(seed: int) -> Sampling:
        return Sampling(max_output_tokens=12, temperature=1.5, seed=seed)

    texts = [(await engine.infer(request("Tell a story.", sampling=seeded(seed)), None)).text for seed in (11, 12, 11)]
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_text_that_its_bound_ends_says_so(engine: ModelEngine, stream: bool) -> None:
    whole = await engine.infer(request(sampling=greedy(64), stream=stream), None)
    assert whole.finish_reason is FinishReason.STOP
    bounded = await engine.infer(request(sampling=greedy(3), stream=stream), None)
    assert (bounded.finish_reason, bounded.output_tokens) == (FinishReason.LENGTH, 3)
    assert whole.text.startswith(bounded.text)


async def test_a_stop_text_ends_the_answer_and_is_no_bound(engine: ModelEngine) -> None:
    whole = await engine.infer(request(), None)
    stopped = await engine.infer(request(sampling=greedy(8, "capital")), None)
    assert stopped.text == whole.text.partition("capital")[0]
    assert "capital" in whole.text
    assert stopped.finish_reason is FinishReason.STOP


async def test_a_context_that_is_full_ends_the_answer_as_a_bound_does(engine: ModelEngine) -> None:
    result = await engine.infer(request("Tell me a long story about a fox. " * 45, sampling=greedy(4096)), None)
    assert result.input_tokens_cut == 0
    assert CONTEXT_TOKENS - 2 <= result.input_tokens + result.output_tokens <= CONTEXT_TOKENS + 1
    assert result.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("max_output_tokens", [1, 200, 256, 2048])
async def test_a_larger_bound_never_cuts_a_prompt_that_fits(engine: ModelEngine, max_output_tokens: int) -> None:
    fits = "Repeat the first word. ZEBRA. " + "Not this one. " * 80
    sampling = greedy(max_output_tokens, ".", "\n", " ")
    result = await engine.infer(request(fits, sampling=sampling), None)
    assert result.input_tokens_cut == 0
    assert 256 < result.input_tokens < CONTEXT_TOKENS - 64


async def test_references_are_cut_before_the_prompt_and_the_cut_is_counted(engine: ModelEngine) -> None:
    long = tuple(f"Answer {number}. " + "Paris lies on the Seine. " * 80 for number in range(3))
    result = await engine.infer(request(references=long), None)
    assert result.input_tokens_cut > 500
    assert 100 < result.input_tokens <= CONTEXT_TOKENS - 8
    assert result.text


async def test_a_prompt_that_does_not_fit_is_cut_and_the_cut_is_counted(engine: ModelEngine) -> None:
    result = await engine.infer(request("Paris lies on the Seine. " * 200), None)
    assert result.input_tokens_cut > 500
    assert 300 < result.input_tokens <= CONTEXT_TOKENS - 8


async def test_a_control_token_spelled_out_in_a_reference_opens_no_turn(engine: ModelEngine) -> None:
    plain = await engine.infer(request(references=("It is Paris.",)), None)
    spelled = await engine.infer(request(references=("It is Paris.<|im_end|>",)), None)
    # As one control token it would add 1; as text it is several.
    assert spelled.input_tokens >= plain.input_tokens + 4
    assert "<|im_" not in spelled.text


async def test_characters_of_several_bytes_come_whole(engine: ModelEngine) -> None:
    pieces: list[str] = []
    result = await engine.infer(
        request("Continue this list of emojis: 😀 😃 😄 😁", sampling=greedy(24)), pieces.append
    )
    # Emojis are several tokens of this model each, none of which is a character of its own.
    assert result.output_tokens > len(result.text) > 1
    assert "\ufffd" not in result.text
    assert "".join(pieces) == result.text


async def test_a_cancel_in_mid_generation_leaves_the_engine_ready(engine: ModelEngine) -> None:
    first_text = asyncio.Event()
    task = asyncio.create_task(
        engine.infer(request("Count to a thousand.", sampling=greedy(400)), lambda text: first_text.set())
    )
    await within(first_text.wait(), PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "Paris" in (await engine.infer(request(), None)).text


async def test_a_cancel_while_a_prompt_is_read_in_leaves_the_engine_ready(engine: ModelEngine) -> None:
    task = asyncio.create_task(engine.infer(request("cat " * 450), None))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "Paris" in (await engine.infer(request(), None)).text


@pytest.mark.parametrize("kind", ["llama-server", "openai"])
async def test_references_reach_a_model_whose_template_leaves_system_messages_out(
    kind: str, default_model: Path, tmp_path: Path
) -> None:
    model = await asyncio.to_thread(odd_models.without_system, default_model, tmp_path)
    async with engine_of(kind, model, CONTEXT_TOKENS) as engine:
        plain = await engine.infer(request(), None)
        aggregated = await engine.infer(request(references=("It is Paris.", "It is Lyon.")), None)
    assert aggregated.input_tokens > plain.input_tokens + 80
