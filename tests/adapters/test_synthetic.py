import asyncio

import pytest

from edge_agent.adapters.synthetic import SyntheticEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.service_time import parse_service
from edge_agent.speed_up import parse_speed_up
from tests.support.patience import PATIENCE_S


def request(references: tuple[str, ...] = (), stream: bool = False) -> StartInference:
    return StartInference("item", (ChatMessage(Role.USER, "one two three"),), references, Sampling(), stream)


async def test_text_and_card_say_that_it_is_synthetic() -> None:
    engine = SyntheticEngine(parse_service("deterministic:0.001"))
    await engine.start()
    result = await engine.infer(request(), None)
    assert engine.card.synthetic
    assert result.text.startswith("[synthetic]")
    assert result.input_tokens == 3
    assert result.output_tokens > 0


async def test_it_takes_the_declared_time_and_longer_with_references() -> None:
    engine = SyntheticEngine(parse_service("deterministic:0.02"), aggregation_factor=3.0)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await engine.infer(request(), None)
    plain_s = loop.time() - started
    await engine.infer(request(references=("a",)), None)
    # Lower bounds only: how late a busy machine wakes us is nobody's promise.
    assert plain_s >= 0.02 - 0.001
    assert loop.time() - started - plain_s >= 0.06 - 0.001


async def test_a_streamed_text_comes_in_the_pieces_asked_for() -> None:
    engine = SyntheticEngine(parse_service("exponential:0.005"), stream_chunks=5)
    pieces: list[str] = []
    result = await engine.infer(request(stream=True), pieces.append)
    assert len(pieces) == 5
    assert "".join(pieces) == result.text


async def test_without_a_wish_for_a_stream_nothing_is_streamed() -> None:
    pieces: list[str] = []
    await SyntheticEngine(parse_service("deterministic:0.001")).infer(request(), pieces.append)
    assert pieces == []


async def test_the_same_seed_gives_the_same_service_times() -> None:
    texts = []
    for _ in range(2):
        engine = SyntheticEngine(parse_service("exponential:0.002"), seed=5)
        texts.append([(await engine.infer(request(), None)).text for _ in range(3)])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


async def test_a_service_time_can_be_cancelled() -> None:
    engine = SyntheticEngine(parse_service("deterministic:600"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await engine.infer(request(), None)


async def test_several_share_the_engine_and_gain_what_was_declared() -> None:
    engine = SyntheticEngine(parse_service("deterministic:0.06"), slots=3, speed_up=parse_speed_up("1,1.5,1.5"))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(engine.infer(request(), None) for _ in range(3)))
    assert engine.slots == 3
    assert loop.time() - started >= 3 * 0.06 / 1.5 - 0.001


async def test_a_cancelled_inference_gives_its_share_to_the_others() -> None:
    engine = SyntheticEngine(parse_service("deterministic:0.05"), slots=2)
    long = asyncio.create_task(engine.infer(request(), None))
    other = asyncio.create_task(engine.infer(request(), None))
    await asyncio.sleep(0.01)
    other.cancel()
    await asyncio.wait([other])
    assert other.cancelled()
    async with asyncio.timeout(PATIENCE_S):
        await long
        assert (await engine.infer(request(), None)).text
