"""Whatever a server of OpenAI's kind sends: each inference ends exactly once, and the engine takes the next one."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator

import pytest

from edge_agent.adapters.openai_engine import OpenAIEngine
from edge_agent.core.events import InferenceCompleted, InferenceFailed
from edge_agent.engines.chat import estimate_tokens
from tests.runtime.inferences import driven, request
from tests.support.chat_server import (
    GOOD,
    GOOD_TEXT,
    ChatServer,
    Program,
    chat_server,
    delta,
    dripping,
    endless,
    in_pieces,
    ok,
    reply,
    sse,
    stalled,
)
from tests.support.polling import until

KEY = "sk-not-to-be-seen"
SILENCE_S = 1.0  # for what stalls; all else is answered at once, and asked again if this machine is slower than that
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
JSON = "Content-Type: application/json"
END = delta("", "stop")
DEEP = b"[" * 200_000
BOMB = b"data: " + b"\0" * (64 * 1024 * 1024)


def usage(given: object) -> bytes:
    return ok(delta(GOOD_TEXT), {"choices": [], "usage": given}, END, "[DONE]")


def whole(message: object, **more: object) -> bytes:
    body = {"choices": [{"message": message, "finish_reason": "stop"}], **more}
    return reply("200 OK", json.dumps(body).encode(), JSON)


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


def engine_on(server: ChatServer, silence_s: float = 30.0) -> OpenAIEngine:
    return OpenAIEngine(server.url, "m", KEY, context_tokens=400, silence_timeout_s=silence_s)


TRUE_ANSWERS = {
    "usage is a list": usage([1]),
    "usage is a text": usage("many"),
    "usage is null": usage(None),
    "counts are booleans": usage({"prompt_tokens": True, "completion_tokens": False}),
    "counts are negative": usage({"prompt_tokens": -1, "completion_tokens": -(10**30)}),
    "counts are huge": usage({"prompt_tokens": 10**30, "completion_tokens": 2**63}),
    "counts are fractions": usage({"prompt_tokens": 1.5, "completion_tokens": 1e300}),
    "counts are texts, lists, null": usage({"prompt_tokens": "7", "completion_tokens": [1]}),
    "counts are null": usage({"prompt_tokens": None}),
    "content is null or absent between": ok(delta(None), {"choices": [{"delta": {}}]}, delta(GOOD_TEXT), END),
    "delta is null or absent": ok({"choices": [{"delta": None}]}, {"choices": [{}]}, delta(GOOD_TEXT), END),
    "choices are null or absent between": ok({"choices": None}, {}, {"id": 1}, delta(GOOD_TEXT), END),
    "the reason is no text": ok(delta(GOOD_TEXT, 5)),
    "content in parts": ok(delta([{"type": "thinking", "thinking": []}, {"type": "text", "text": GOOD_TEXT}]), END),
    "no reason, only DONE": ok(delta(GOOD_TEXT), "[DONE]"),
    "no type is said": reply("200 OK", sse(delta(GOOD_TEXT), END)),
    "a wrong type is said": reply("200 OK", sse(delta(GOOD_TEXT), END), "Content-Type: text/html"),
    "not streamed": whole({"content": GOOD_TEXT}),
    "not streamed, usage makes no sense": whole({"content": GOOD_TEXT}, usage=[[]]),
    "lines end as on Windows": reply("200 OK", sse(delta(GOOD_TEXT), END).replace(b"\n", b"\r\n")),
    "one byte a packet": in_pieces(bytes([byte]) for byte in STREAM + sse(delta(GOOD_TEXT), END)),
    "broken off after the end": reply("200 OK", sse(delta(GOOD_TEXT), END), content_length=10_000),
    "no JSON after the end": ok(delta(GOOD_TEXT), END, "{not json"),
    "silent after the end": stalled(STREAM + sse(delta(GOOD_TEXT), END)),
}


@pytest.mark.parametrize("answer", TRUE_ANSWERS.values(), ids=TRUE_ANSWERS)
async def test_an_answer_that_is_there_is_taken_whatever_surrounds_it(
    server: ChatServer, answer: bytes | Program
) -> None:
    server.chat = answer
    async with driven(engine_on(server)) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceCompleted), end
        assert (end.text, run.texts["#1"]) == (GOOD_TEXT, GOOD_TEXT)
        assert 0 <= end.output_tokens <= 8
        assert end.input_tokens == estimate_tokens("capital of France?")


NO_ANSWERS: dict[str, tuple[bytes | Program, str]] = {
    "an event is a list": (ok([1]), "not an object"),
    "an event is a number": (ok(5), "not an object"),
    "an event is null": (ok("null"), "not an object"),
    "an event is no JSON": (ok("{not json"), "no JSON"),
    "an event is no UTF-8": (reply("200 OK", b"data: \xff\xfe{\n\n"), "no JSON"),
    "an event without end": (reply("200 OK", b"data: " + DEEP + b"\n\n"), "no JSON"),
    "a number of a million digits": (ok('{"choices": ' + "9" * 900_000 + "}"), "no JSON"),
    "choices is a number": (ok({"choices": 5}), "a choice"),
    "choices is an object": (ok({"choices": {"delta": {"content": "x"}}}), "a choice"),
    "choices holds null": (ok({"choices": [None]}), "a choice"),
    "choices holds a list": (ok({"choices": [[[]]]}), "a choice"),
    "delta is a list": (ok({"choices": [{"delta": ["x"]}]}), "delta"),
    "delta is a number": (ok({"choices": [{"delta": 5}]}), "delta"),
    "content is a number": (ok(delta(5)), "content"),
    "content is an object": (ok(delta({"a": 1})), "content"),
    "content is lists in lists": (ok(delta([[["x"]]])), "content"),
    "content has parts without text": (ok(delta([{"type": "text", "text": 5}])), "content"),
    "success with an error object": (reply("200 OK", b'{"error": {"message": "because"}}', JSON), "because"),
    "success with an error text": (reply("200 OK", b'{"error": "because"}', JSON), "because"),
    "success with an error of lists": (reply("200 OK", b'{"error": [["because"]]}', JSON), "because"),
    "an error event": (ok(delta("half"), {"error": {"message": "because", "code": 5}}), "because"),
    "an error as the reason": (ok(delta("half", "error")), "stopped early"),
    "not streamed, no choices": (reply("200 OK", b'{"id": "x"}', JSON), "no choices"),
    "not streamed, no text": (whole({"content": 5}), "content"),
    "not streamed, message is a list": (whole(["x"]), "message"),
    "a page": (reply("200 OK", b"<html>hello</html>", "Content-Type: text/html"), "<html>"),
    "an empty body": (reply("200 OK", b""), "too early"),
    "no content": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "too early"),
    "only DONE": (ok("[DONE]"), "too early"),
    "only comments": (reply("200 OK", b": ping\n\n"), "too early"),
    "the stream ends early": (ok(delta("half")), "too early"),
    "the connection ends early": (reply("200 OK", sse(delta("half")), content_length=10_000), "broke off"),
    "closed without a word": (b"", "broke off"),
    "no HTTP": (b"hello\r\n\r\n", "broke off"),
    "a status that is none": (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "999"),
    "chunks that are none": (
        STREAM.replace(b"close\r\n", b"close\r\nTransfer-Encoding: chunked\r\n") + b"zz\r\n",
        "broke",
    ),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "broke off"),
    "moved": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/v1\r\nContent-Length: 0\r\n\r\n", "base_url"),
    "moved to itself for good": (b"HTTP/1.1 308 Permanent\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n", "308"),
    "refused": (reply("400 Bad Request", b'{"error": {"message": "be\\ncause"}}'), "be cause"),
    "refused with the key in it": (reply("401 No", f'{{"error": "wrong key {KEY}"}}'.encode()), "wrong key [*]+"),
    "refused as FastAPI does": (reply("422 No", b'{"detail": [{"loc": "because"}]}'), "because"),
    "refused with nested brackets": (reply("500 No", DEEP), "500"),
    "refused with bytes": (reply("503 No", b"\xff\x00\x1b[31m"), "503"),
    "refused without end": (endless(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65_536), "500"),
    "a bomb": (reply("200 OK", gzip.compress(BOMB), "Content-Encoding: gzip"), "compresses"),
    "a bomb of another kind": (reply("200 OK", zlib.compress(BOMB), "Content-Encoding: deflate"), "compresses"),
    "a bomb in a bomb": (
        reply("200 OK", gzip.compress(gzip.compress(BOMB)), "Content-Encoding: gzip, gzip"),
        "compresses",
    ),
    "a bomb as a refusal": (reply("500 No", gzip.compress(BOMB), "Content-Encoding: gzip"), "500"),
    "a line without end": (endless(STREAM, b"data: " + b"x" * 65_536), "unreasonable"),
    "comments without end": (endless(STREAM, (b": " + b"x" * 1000 + b"\n") * 64), "unreasonable"),
    "empty events without end": (endless(STREAM, sse({"choices": [], "padding": "x" * 60_000})), "unreasonable"),
    "lines that mean nothing without end": (endless(STREAM, b"x" * 1000 + b"\n"), "something other"),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"), "broke off"),
}


@pytest.mark.parametrize(("answer", "reason"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_one_failure_with_its_reason_and_the_engine_is_free(
    server: ChatServer, answer: bytes | Program, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.chat = answer
    async with driven(engine_on(server)) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed), end
        assert re.search(reason, end.detail), end.detail
        assert end.detail.isprintable()
        assert KEY not in end.detail + caplog.text
        assert "nobody foresaw" not in end.detail
        assert [record for record in caplog.records if "#1" in record.getMessage()] != []
        server.chat = GOOD
        await run.can_infer()


async def test_a_text_without_end_is_an_answer_that_was_cut(server: ChatServer) -> None:
    server.chat = endless(STREAM, sse(delta("word " * 1000)))
    async with driven(engine_on(server)) as run:
        end = await run.end_of("#1", stream=False)
        assert isinstance(end, InferenceCompleted)
        assert len(end.text) < 1024 * 1024
        server.chat = GOOD
        await run.can_infer()


STALLS = {
    "before the first byte": stalled(b""),
    "in the head": stalled(b"HTTP/1.1 200 OK\r\nX-A: "),
    "before the first event": stalled(STREAM),
    "within an event": stalled(STREAM + b"data: {"),
    "after some text": stalled(STREAM + sse(delta("half"))),
    "while it goes on to say nothing": dripping(STREAM, b": ping\n\n" + sse({"choices": []}, delta(""))),
    "in a refusal": stalled(b"HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\nbecause"),
}


@pytest.mark.parametrize("answer", STALLS.values(), ids=STALLS)
async def test_a_stall_is_one_failure_worth_another_try(server: ChatServer, answer: Program) -> None:
    server.chat = answer
    async with driven(engine_on(server, SILENCE_S)) as run:
        end = await run.end_of("#1")
        assert isinstance(end, InferenceFailed)
        assert end.retryable
        server.chat = GOOD
        await run.can_infer()


@pytest.mark.parametrize("answer", STALLS.values(), ids=STALLS)
async def test_no_event_follows_a_cancel_at_any_point_and_the_engine_is_free(
    server: ChatServer, answer: Program
) -> None:
    server.chat = answer
    async with driven(engine_on(server)) as run:
        run.driver.start(request("#1"))
        await until(lambda: server.chats == 1, "the server has the chat")
        run.driver.cancel("#1")
        server.chat = GOOD
        await run.can_infer()
        assert all(end.item_id != "#1" for end in run.ends)
