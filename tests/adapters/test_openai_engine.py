"""The OpenAI-style engine: against llama.cpp's own server, and, for what that server never does, a small real one."""

import asyncio
import importlib.util
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from edge_agent.adapters.openai_engine import OpenAIEngine
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.engines.chat import estimate_tokens
from tests.adapters import engines
from tests.adapters.engines import API_KEY
from tests.conftest import missing
from tests.support.patience import PATIENCE_S

POLL_S = 0.05


def request(
    text: str = "What is the capital of France", references: tuple[str, ...] = (), max_output_tokens: int = 8
) -> StartInference:
    sampling = Sampling(max_output_tokens=max_output_tokens, temperature=0.0, seed=1, stop=("###",))
    return StartInference("item", (ChatMessage(Role.USER, text),), references, sampling, True)


@asynccontextmanager
async def started(engine: OpenAIEngine) -> AsyncIterator[OpenAIEngine]:
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


# --- llama.cpp's own server ---------------------------------------------------------------------------------------


@pytest.fixture
async def llama_server(default_model: Path) -> AsyncIterator[str]:
    """The address of llama.cpp's server with the default model."""
    if importlib.util.find_spec("xllamacpp") is None:
        missing("xllamacpp, which holds llama.cpp's own server, is not installed")
    async with engines.llama_server(default_model) as address:
        yield address


async def is_generating(address: str) -> bool:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False) as client:
        slots = (await client.get(f"{address}/slots")).json()
    return any(slot["is_processing"] for slot in slots)


@pytest.mark.llm
async def test_llama_cpps_own_server_answers_streams_and_counts(llama_server: str) -> None:
    pieces: list[str] = []
    async with started(OpenAIEngine(llama_server, "smollm2", API_KEY)) as engine:
        result = await engine.infer(request(), pieces.append)
    assert "Paris" in result.text
    assert "".join(pieces) == result.text
    assert len(pieces) > 1
    assert result.input_tokens == 36  # as the model's own tokenizer counts this prompt in its template
    assert 1 < result.output_tokens <= 8
    assert result.time_to_first_token_s > 0


@pytest.mark.llm
async def test_references_reach_llama_cpps_own_server(llama_server: str) -> None:
    async with started(OpenAIEngine(f"{llama_server}/v1/", "smollm2", API_KEY)) as engine:
        plain = await engine.infer(request(), None)
        aggregated = await engine.infer(request(references=("It is Paris.", "Paris, I think.")), None)
    assert aggregated.input_tokens > plain.input_tokens + 50
    assert aggregated.input_tokens_cut == 0


@pytest.mark.llm
async def test_a_cancel_makes_llama_cpps_own_server_stop_generating(llama_server: str) -> None:
    async with started(OpenAIEngine(llama_server, "smollm2", API_KEY)) as engine:
        first_text = asyncio.Event()
        long = request("Count from one to a thousand.", max_output_tokens=900)
        task = asyncio.create_task(engine.infer(long, lambda text: first_text.set()))
        await first_text.wait()
        assert await is_generating(llama_server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(int(PATIENCE_S / POLL_S)):
            if not await is_generating(llama_server):
                break
            await asyncio.sleep(POLL_S)
        assert not await is_generating(llama_server)
        assert "Paris" in (await engine.infer(request(), None)).text


@pytest.mark.llm
async def test_a_wrong_key_is_refused_and_no_key_is_ever_logged(
    llama_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with started(OpenAIEngine(llama_server, "smollm2", API_KEY)) as engine:
        await engine.infer(request(), None)
    with pytest.raises(EngineError, match="401") as caught:
        # Of this server's paths, the list of models is open to all.
        async with started(OpenAIEngine(llama_server, "smollm2", API_KEY + "-wrong")) as engine:
            await engine.infer(request(), None)
    assert not caught.value.retryable
    assert API_KEY not in caught.value.detail
    assert API_KEY not in caplog.text


# --- what that server never does ----------------------------------------------------------------------------------


def sse(*events: object) -> bytes:
    lines = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def delta(text: str, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def reply(status: str, body: bytes, content_length: int | None = None) -> bytes:
    length = len(body) if content_length is None else content_length
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def scripted_server(answer: bytes, seen: list[bytes] | None = None) -> AsyncIterator[OpenAIEngine]:
    """A server on loopback that gives one answer to every chat; yields an engine on it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        if seen is not None:
            seen.append(body)
        writer.write(answer if head.startswith(b"POST") else reply("200 OK", b'{"data": []}'))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, started(OpenAIEngine(f"http://127.0.0.1:{port}", "m", API_KEY, context_tokens=400)) as engine:
        yield engine


async def test_without_usage_tokens_are_estimated() -> None:
    async with scripted_server(reply("200 OK", sse(delta("Pa"), delta("ris"), delta("", "stop"), "[DONE]"))) as engine:
        result = await engine.infer(request(), None)
    assert (result.text, result.output_tokens) == ("Paris", 2)
    assert result.input_tokens == estimate_tokens("What is the capital of France")


async def test_line_separators_of_other_scripts_inside_a_text_do_not_break_the_stream() -> None:
    text = "one\u2028two\u0085three"
    async with scripted_server(reply("200 OK", sse(delta(text, "stop")))) as engine:
        assert (await engine.infer(request(), None)).text == text


async def test_what_was_asked_for_is_sent_and_references_are_cut_to_the_context() -> None:
    seen: list[bytes] = []
    async with scripted_server(reply("200 OK", sse(delta("ok", "stop"))), seen) as engine:
        result = await engine.infer(request(references=("word " * 400, "short")), None)
    body = json.loads(seen[-1])
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("m", 8, 0.0, 1)
    assert body["stop"] == ["###"]
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].endswith("2. short")
    assert result.input_tokens_cut > 0
    assert estimate_tokens(system["content"]) < 400


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        ("500 Internal Server Error", True),
        ("503 Service Unavailable", True),
        ("429 Too Many Requests", True),
        ("400 Bad Request", False),
        ("404 Not Found", False),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words_and_retried_only_if_that_can_help(
    status: str, retryable: bool
) -> None:
    async with scripted_server(reply(status, b'{"error": {"message": "because\\nof this"}}')) as engine:
        with pytest.raises(EngineError, match="because of this") as caught:
            await engine.infer(request(), None)
    assert caught.value.retryable is retryable
    assert status[:3] in caught.value.detail
    assert API_KEY not in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "retryable"),
    [
        (reply("200 OK", sse(delta("half")), content_length=10_000), True),  # the connection breaks
        (reply("200 OK", sse(delta("half"))), True),  # the stream just ends
        (reply("200 OK", sse({"error": {"message": "out of memory"}})), True),
        (b"", True),  # closed without a word
        (reply("200 OK", sse("{not json")), False),
        (reply("200 OK", sse("[1]")), False),
        (reply("200 OK", b"data: " + b"x" * 2_000_000), False),
    ],
)
async def test_an_answer_that_breaks_off_or_makes_no_sense_is_an_error(answer: bytes, retryable: bool) -> None:
    async with scripted_server(answer) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.infer(request(), None)
    assert caught.value.retryable is retryable
    assert "\n" not in caught.value.detail


async def test_a_server_that_goes_away_later_is_worth_a_retry() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply("200 OK", b"{}"))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, started(OpenAIEngine(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "m")) as engine:
        server.close()
        await server.wait_closed()
        with pytest.raises(EngineError) as caught:
            await engine.infer(request(), None)
    assert caught.value.retryable


async def test_a_stopped_engine_says_so() -> None:
    async with scripted_server(b"") as engine:
        pass
    await engine.stop()
    with pytest.raises(EngineError, match="not running"):
        await engine.infer(request(), None)
