"""A server that is away: told, refused at once, asked again until it is back; a device may start before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edge_agent.adapters.openai_engine import OpenAIEngine
from edge_agent.core.errors import EngineError
from edge_agent.core.events import InferenceCompleted, InferenceFailed
from edge_agent.engines.chat import watch as watch_module
from tests.runtime.inferences import driven, request
from tests.support.chat_server import GOOD, MODELS, ChatServer, Program, chat_server, endless, reply, stalled


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(watch_module, "LOOK_INTERVAL_S", 0.1)
    monkeypatch.setattr("edge_agent.runtime.engine_health.TRIAL_PAUSE_FIRST_S", 0.05)


async def test_a_server_that_goes_away_is_missed_without_a_prompt_and_found_again(server: ChatServer) -> None:
    engine = OpenAIEngine(server.url, "m")
    async with driven(engine) as run:
        await server.stop()
        assert "no server answers" in await run.health_heard(well=False)
        with pytest.raises(EngineError) as caught:
            await engine.infer(request("direct"), None)
        assert not caught.value.retryable
        assert isinstance(await run.end_of("#1"), InferenceFailed)
        await server.start()
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#2"), InferenceCompleted)


async def test_a_refused_connection_is_told_at_the_first_prompt(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_INTERVAL_S", 600.0)  # nobody looks before the prompt
    async with driven(OpenAIEngine(server.url, "m")) as run:
        await server.stop()
        assert isinstance(await run.end_of("#1"), InferenceFailed)
        assert "no server answers" in await run.health_heard(well=False)
        await server.start()
        await run.health_heard(well=True)


NOT_YET: dict[str, bytes | Program | None] = {
    "nobody listens": None,
    "it loads its model": reply("503 Service Unavailable", b'{"error": {"message": "Loading model"}}'),
    "it is overloaded": reply("429 Too Many Requests", b""),
    "it closes without a word": b"",
    "it is no HTTP": b"hello\r\n\r\n",
    "success with an error": reply("200 OK", b'{"error": "not yet"}'),
}


@pytest.mark.parametrize("models", NOT_YET.values(), ids=NOT_YET)
async def test_a_device_starts_before_its_server_says_so_and_infers_once_it_is_there(
    server: ChatServer, models: bytes | Program | None
) -> None:
    if models is None:
        await server.stop()
    else:
        server.models = models
    async with driven(OpenAIEngine(server.url, "m")) as run:
        assert await run.health_heard(well=False)
        assert isinstance(await run.end_of("#1"), InferenceFailed)
        if models is None:
            await server.start()
        server.models = MODELS
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#2"), InferenceCompleted)


async def test_a_server_that_stalls_is_not_waited_for_at_the_start(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOOK_TIMEOUT_S", 0.5)
    server.models = stalled(b"HTTP/1.1 200 OK\r\n")
    async with driven(OpenAIEngine(server.url, "m")) as run:
        assert await run.health_heard(well=False)


@pytest.mark.parametrize("body", [endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), reply("200 OK", b"[" * 200_000)])
async def test_whatever_stands_in_the_list_of_models_is_read_within_bounds(
    server: ChatServer, body: bytes | Program
) -> None:
    server.models = body
    async with driven(OpenAIEngine(server.url, "m")) as run:
        assert isinstance(await run.end_of("#1"), InferenceCompleted)


REFUSALS = {
    "wrong key": reply("401 Unauthorized", b'{"error": {"message": "Incorrect API key"}}'),
    "wrong path": reply("404 Not Found", b"no such page"),
    "moved": b"HTTP/1.1 301 Moved\r\nLocation: https://example.org/v1/models\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("models", REFUSALS.values(), ids=REFUSALS)
async def test_what_somebody_must_mend_refuses_the_start_in_one_line(server: ChatServer, models: bytes) -> None:
    server.models = models
    engine = OpenAIEngine(server.url, "m")
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert not caught.value.retryable
    assert caught.value.detail.isprintable()
    await engine.stop()


@pytest.mark.parametrize(
    ("url", "key"), [("http://[::1", None), ("http://127.0.0.1:1", "sk-é"), ("http://127.0.0.1:99999", None)]
)
async def test_settings_that_name_no_server_refuse_the_start_in_one_line(url: str, key: str | None) -> None:
    engine = OpenAIEngine(url, "m", key)
    with pytest.raises(EngineError) as caught:
        await engine.start()
    assert not caught.value.retryable
    assert caught.value.detail.isprintable()


async def test_a_server_that_lists_its_models_and_fails_at_every_chat_is_told_and_taken_back(
    server: ChatServer,
) -> None:
    server.chat = reply("404 Not Found", b'{"error": {"message": "model m not found, try pulling it first"}}')
    async with driven(OpenAIEngine(server.url, "m")) as run:
        for number in range(2):
            assert isinstance(await run.end_of(f"#{number}"), InferenceFailed)
        assert "try pulling it" in await run.health_heard(well=False)
        server.chat = GOOD
        await run.health_heard(well=True)
        assert isinstance(await run.end_of("#3"), InferenceCompleted)
