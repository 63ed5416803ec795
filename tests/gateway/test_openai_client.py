"""The official OpenAI client, unchanged, against a gateway in front of real device processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from edge_agent.gateway.keys import add_key
from tests.gateway.programs import SEVERAL, Gateway, Mesh, eventually, gateway_of
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

DEVICE = {"device": "device-1"}
LONG = {"layers": 8, "fanout": 0}  # nine inferences one after the other: on the slow device, time enough to go away


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.api, api_key="none is needed", max_retries=0, timeout=PATIENCE_S) as made:
        yield made


@pytest.fixture
def slow_client(slow_gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=slow_gateway.api, api_key="none is needed", max_retries=0, timeout=PATIENCE_S) as made:
        yield made


@pytest.fixture
async def async_client(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.api, api_key="none", max_retries=0, timeout=PATIENCE_S) as made:
        yield made


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_chat_is_answered_with_usage_and_what_made_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="moa-m1-k2", messages=[{"role": "system", "content": "be short"}, user("why is the sky blue?")]
    )
    assert answer.object == "chat.completion"
    assert answer.model == "moa-m1-k2"
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert "declared service time" in (choice.message.content or "")
    made = answer.model_extra["moamesh"]
    provenance = made["provenance"]
    assert [len(layer) for layer in provenance["layers"]] == [3]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == provenance["aggregation"]["output_tokens"] > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert made["mesh_usage"]["inferences"] == 4
    assert made["mesh_usage"]["output_tokens"] > answer.usage.completion_tokens
    assert made["device"] == provenance["device_id"]


def test_the_mesh_is_listed_as_models_and_any_plan_is_one(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"moa", "moa-m2-k3", "local"} <= set(names)
    assert client.models.retrieve("moa-m8-k16").id == "moa-m8-k16"
    for name in ("moa-m9-k1", "moa-m1-k17", "gpt-4o", "moa-m01-k1"):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.models.retrieve(name)


def test_the_model_names_layers_and_fanout_and_the_extension_counts_over_it(client: openai.OpenAI) -> None:
    for model, extra, layers in (("local", {}, 0), ("moa-m3-k1", {}, 3), ("moa", {"layers": 1, "fanout": 1}, 1)):
        answer = client.chat.completions.create(model=model, messages=[user("hi")], extra_body={"moamesh": extra})
        assert len(answer.model_extra["moamesh"]["provenance"]["layers"]) == layers


def test_a_stream_gives_the_same_as_its_pieces(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="moa-m1-k1", messages=[user("why?")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1, "the text came in one piece"
    *_, last, tokens = chunks
    assert last.choices[0].finish_reason == "stop"
    aggregation = last.model_extra["moamesh"]["provenance"]["aggregation"]
    assert tokens.choices == []
    assert tokens.usage is not None
    assert tokens.usage.completion_tokens == aggregation["output_tokens"] == len("".join(pieces).split())
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_without_stream_options_no_usage_is_streamed(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="local", messages=[user("why?")], stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_the_streaming_helper_gathers_a_completion(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="local", messages=[user("why?")]) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(texts)


def test_a_length_that_is_used_up_is_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="local", messages=[user("why?")], max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"  # the synthetic engine says more than two words


def test_a_long_conversation_keeps_its_turns(client: openai.OpenAI) -> None:
    messages: list[dict[str, str]] = [{"role": "developer", "content": "answer in one line"}]
    tokens = 0
    for turn in range(40):
        messages.append(user(f"and what about number {turn}?"))
        answer = client.chat.completions.create(model="local", messages=messages)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > tokens, "the turns before were not read"
        tokens = answer.usage.prompt_tokens
        messages.append({"role": "assistant", "content": answer.choices[0].message.content or ""})
    assert len(messages) == 81


async def test_twenty_at_once_are_all_answered_over_all_devices(async_client: openai.AsyncOpenAI) -> None:
    async def ask(number: int) -> str:
        answer = await async_client.chat.completions.create(model="local", messages=[user(f"number {number}")])
        assert answer.choices[0].message.content
        return str(answer.model_extra["moamesh"]["device"])

    devices = await asyncio.gather(*(ask(number) for number in range(20)))
    assert set(devices) == {"device-1", "device-2", "device-3"}
    assert max(devices.count(name) for name in set(devices)) <= 12, f"one device got nearly all: {devices}"


def test_twenty_threads_stream_at_once(client: openai.OpenAI) -> None:
    def ask(number: int) -> str:
        chunks = client.chat.completions.create(model="local", messages=[user(f"number {number}")], stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(ask, range(20)))
    assert len(texts) == 20
    assert all("declared service time" in text for text in texts)


def test_a_wrong_key_is_an_authentication_error_and_a_right_one_is_let_in(mesh: Mesh, tmp_path: Path) -> None:
    secret = add_key(tmp_path / "api-keys.json", "alice")
    with gateway_of(mesh.broker, mesh.mesh, tmp_path) as locked:
        for wrong in ("sk-moamesh-wrong", "none"):
            with (
                openai.OpenAI(base_url=locked.api, api_key=wrong, max_retries=0) as stranger,
                pytest.raises(openai.AuthenticationError) as caught,
            ):
                stranger.chat.completions.create(model="local", messages=[user("let me in")])
            assert caught.value.code == "invalid_api_key"
        with openai.OpenAI(base_url=locked.api, api_key=secret, max_retries=0, timeout=PATIENCE_S) as alice:
            assert alice.chat.completions.create(model="local", messages=[user("hi")]).choices[0].message.content


def test_an_overloaded_mesh_is_a_rate_limit_error_and_retries_succeed(
    slow_gateway: Gateway, slow_client: openai.OpenAI
) -> None:
    several = {"moamesh": SEVERAL}
    with slow_client.chat.completions.create(
        model="moa", messages=[user("first")], stream=True, extra_body=several
    ) as first:
        next(first)  # the device has it: its one place is taken
        with pytest.raises(openai.RateLimitError, match="rate limit") as caught:
            slow_client.chat.completions.create(model="local", messages=[user("second")])
        assert caught.value.code == "overloaded"
        assert int(caught.value.response.headers["retry-after"]) >= 1
        patient = slow_client.with_options(max_retries=100)
        assert patient.chat.completions.create(model="local", messages=[user("third")]).choices[0].message.content
        assert "".join(chunk.choices[0].delta.content or "" for chunk in first)


def test_closing_a_stream_cancels_the_prompt_at_its_device(slow_gateway: Gateway, slow_client: openai.OpenAI) -> None:
    before = slow_gateway.figure("moamesh_device_cancelled_total", device="device-1")
    stream = slow_client.chat.completions.create(
        model="moa", messages=[user("never mind")], stream=True, extra_body={"moamesh": LONG}
    )
    next(iter(stream))
    stream.close()
    eventually(
        lambda: slow_gateway.figure("moamesh_device_cancelled_total", device="device-1") > before,
        "the device counts a cancelled prompt",
    )


async def test_going_away_from_a_whole_answer_cancels_the_prompt_too(slow_gateway: Gateway) -> None:
    before = slow_gateway.figure("moamesh_device_cancelled_total", device="device-1")
    async with openai.AsyncOpenAI(base_url=slow_gateway.api, api_key="none", max_retries=0) as client:
        asking = asyncio.create_task(
            client.chat.completions.create(model="moa", messages=[user("x")], extra_body={"moamesh": LONG})
        )
        running = "moamesh_device_requests_running"
        await asyncio.to_thread(
            eventually, lambda: slow_gateway.figure(running, device="device-1") > 0, "the device works on it"
        )
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.to_thread(
            eventually,
            lambda: slow_gateway.figure("moamesh_device_cancelled_total", device="device-1") > before,
            "the device counts a cancelled prompt",
        )


def test_what_is_not_supported_is_a_bad_request_in_words(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for options, words in (
        ({"n": 2}, "n is not supported"),
        ({"tools": [tool]}, "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, "plain text"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"messages": [{"role": "user", "content": [image]}]}, "read text only"),
        ({"messages": [user("x"), {"role": "tool", "content": "1", "tool_call_id": "a"}]}, "tool calls"),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            client.chat.completions.create(**({"model": "local", "messages": [user("x")]} | options))


@pytest.mark.llm
def test_a_real_model_answers_through_the_gateway(
    default_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.gateway.programs import mesh_of

    folder = tmp_path_factory.mktemp("llm")
    with (
        # two devices, so one thread each: two of one model wait for each other by spinning where other work is done
        mesh_of(folder, devices=2, engine="llama", models=[str(default_model)]) as real,
        gateway_of(real.broker, real.mesh, folder) as served,
        openai.OpenAI(base_url=served.api, api_key="none", max_retries=0, timeout=PATIENCE_S) as client,
    ):
        options = {"model": "local", "seed": 7, "temperature": 0.0, "max_tokens": 24}
        question = [user("Name the capital of France. Answer with one word.")]
        answer = client.chat.completions.create(messages=question, **options)
        text = answer.choices[0].message.content or ""
        assert "Paris" in text
        chunks = client.chat.completions.create(messages=question, stream=True, **options)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
        assert answer.usage is not None
        assert 0 < answer.usage.completion_tokens <= 24
        assert answer.model_extra["moamesh"]["provenance"]["aggregation"]["synthetic"] is False
        cut = client.chat.completions.create(messages=[user("Count to fifty.")], **(options | {"max_tokens": 3}))
        assert cut.choices[0].finish_reason == "length"
        stopped = client.chat.completions.create(messages=question, **options, stop=["aris"])
        assert "aris" not in (stopped.choices[0].message.content or "")
