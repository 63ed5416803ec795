"""Server-sent events: what a reader gets when the device begins anew, when chunks are lost, and while nothing comes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.core.messages import (
    Answer,
    Contribution,
    Message,
    PeerEntry,
    Presence,
    PresenceState,
    Prompt,
    PromptReceipt,
    Provenance,
    TokenChunk,
)
from edge_agent.core.states import Outcome
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.inquiry import Inquiries, Inquiry
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from edge_agent.gateway.reading import ParsedRequest, read_request
from edge_agent.gateway.replies import Reply
from edge_agent.gateway.schemas import ChatCompletionRequest
from edge_agent.gateway.streaming import SentText, events
from tests.client.scripted_device import ScriptedDevice, scripted_device
from tests.gateway.programs import gateway_of
from tests.support.brokers import mosquitto
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

__all__ = ["mosquitto"]  # a fixture

DEVICE = "device-1"


def chunks(*texts: str, start: int = 0) -> Iterator[TokenChunk]:
    for index, text in enumerate(texts, start=start):
        yield TokenChunk("p", index, text)


def sent(text: SentText, *pieces: TokenChunk) -> str:
    return "".join(text.take(piece) for piece in pieces)


def test_text_goes_on_as_it_comes() -> None:
    text = SentText()
    assert [text.take(piece) for piece in chunks("a", "b", "c")] == ["a", "b", "c"]
    assert text.finish("abc") == ""


def test_a_device_that_begins_anew_with_the_same_words_goes_unnoticed() -> None:
    text = SentText()
    assert sent(text, *chunks("the sky ", "is ")) == "the sky is "
    assert sent(text, *chunks("the ", "sky", " is blue", " today")) == "blue today"
    assert text.finish("the sky is blue today.") == "."


def test_a_device_that_begins_anew_with_other_words_ends_the_stream() -> None:
    text = SentText()
    sent(text, *chunks("the sky ", "is "))
    assert text.take(TokenChunk("p", 0, "the ")) == ""
    with pytest.raises(ApiError) as caught:
        text.take(TokenChunk("p", 1, "sea"))
    assert caught.value.code == "answer_restarted"


def test_lost_chunks_are_made_good_from_the_whole_answer() -> None:
    text = SentText()
    assert sent(text, *chunks("a", "b")) == "ab"
    assert sent(text, *chunks("d", "e", start=3)) == ""
    assert text.finish("abcde") == "cde"


def test_a_reader_who_came_late_gets_all_of_it_at_the_end() -> None:
    text = SentText()
    assert sent(text, *chunks("c", "d", start=2)) == ""
    assert text.finish("abcd") == "abcd"


def test_an_answer_that_was_cut_is_no_other_answer() -> None:
    text = SentText()
    sent(text, *chunks("abc", "def"))
    assert text.finish("abcde") == ""
    with pytest.raises(ApiError):
        text.finish("abX")


def answer(prompt_id: str, text: str, outcome: Outcome = Outcome.ANSWERED) -> Answer:
    work = Contribution(DEVICE, "m", 0.0, 0.1, 3, 2)
    provenance = Provenance(DEVICE, 0, 0, (), work, (), (), (), 0, 0)
    return Answer(prompt_id, DEVICE, outcome, text, "", 0.1, provenance)


@contextlib.asynccontextmanager
async def asking(url: str, folder: Path) -> AsyncIterator[Inquiries]:
    """The gateway's own way to the mesh, without HTTP."""
    options = GatewayOptions(url, "test", folder / "keys.json", device_id=DEVICE)
    link = MeshLink(options)
    inquiries = Inquiries(link, options)
    await link.start()
    try:
        yield inquiries
    finally:
        await inquiries.close()
        await link.stop()


async def stream(inquiries: Inquiries, heartbeat_s: float = PATIENCE_S, lines: list[str] | None = None) -> list[str]:
    """Asks, and returns the lines of the stream; `lines` has them as they come."""
    lines = [] if lines is None else lines
    body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "why?"}]}
    asked: ParsedRequest = read_request(ChatCompletionRequest.model_validate(body))
    inquiry = await inquiries.open(Prompt("p1", asked.messages, asked.options), None, keyed=False)
    try:
        await inquiry.until_accepted()
        async for part in events(inquiry, Reply(asked, inquiry, 0), heartbeat_s):
            lines.append(part.decode().rstrip())
        return lines
    finally:
        inquiry.leave()


def texts_of(lines: list[str]) -> list[str]:
    values: list[dict[str, Any]] = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return [value["choices"][0]["delta"].get("content", "") for value in values if value.get("choices")]


ONLINE = Presence(PeerEntry(DEVICE, "", "m", "f", 1, 1, 0, None), PresenceState.ONLINE, 8, "1")


@pytest.mark.broker
async def test_a_restart_with_other_words_ends_the_stream_with_an_error(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", DEVICE, None), TokenChunk("p1", 0, "the sky"))
            await device.say(TokenChunk("p1", 0, "the sea"), answer("p1", "the sea"))

    async with scripted_device(mosquitto.url, script) as device, asking(mosquitto.url, tmp_path) as inquiries:
        await device.announce(ONLINE)
        lines = await stream(inquiries)
    assert texts_of(lines) == ["", "the sky"]
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["code"] == "answer_restarted"
    assert lines[-1] == "data: [DONE]"


@pytest.mark.broker
async def test_a_silent_device_is_bridged_by_comments_and_a_lost_chunk_by_the_answer(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    lines: list[str] = []

    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", DEVICE, None), TokenChunk("p1", 0, "the "))
            await until(lambda: "the " in texts_of(lines) and lines[-1] == ": waiting", "the silence is bridged")
            await device.say(TokenChunk("p1", 2, "blue"), answer("p1", "the sky is blue"))

    async with scripted_device(mosquitto.url, script) as device, asking(mosquitto.url, tmp_path) as inquiries:
        await device.announce(ONLINE)
        await stream(inquiries, 0.05, lines)
    assert texts_of(lines) == ["", "the ", "sky is blue", ""]
    assert lines[-1] == "data: [DONE]"


@pytest.mark.broker
@pytest.mark.parametrize(("begun", "read"), [("", "the sky is blue"), ("the sky", "the sky is blue"), ("Wat", "Wat")])
async def test_a_partial_answer_is_marked_and_never_written_behind_other_words(
    mosquitto: EmbeddedBroker, tmp_path: Path, begun: str, read: str
) -> None:
    partial = replace(answer("p1", "the sky is blue"), partial=True, detail="nobody could aggregate in time")

    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(
                PromptReceipt("p1", DEVICE, None), *([TokenChunk("p1", 0, begun)] if begun else []), partial
            )

    async with scripted_device(mosquitto.url, script) as device, asking(mosquitto.url, tmp_path) as inquiries:
        await device.announce(ONLINE)
        lines = await stream(inquiries)
    assert "".join(texts_of(lines)) == read
    last = json.loads(lines[-2].removeprefix("data: "))
    assert last["choices"][0]["finish_reason"] == "length"
    assert (last["partial"], last["partial_reason"]) == (True, "nobody could aggregate in time")
    assert last["moamesh"]["partial"] is True
    assert last["moamesh"].get("partial_text") == (None if read == partial.text else partial.text)


def test_a_whole_answer_says_nothing_of_parts_and_a_partial_one_does_on_top() -> None:
    body = {"model": "local", "messages": [{"role": "user", "content": "why?"}]}
    asked = read_request(ChatCompletionRequest.model_validate(body))
    inquiry = Inquiry(Prompt("p1", asked.messages, asked.options), DEVICE, "anybody", False, lambda _: None)
    reply = Reply(asked, inquiry, 0)
    whole = reply.completion(answer("p1", "x"))
    assert "partial" not in whole
    assert (whole["choices"][0]["finish_reason"], whole["moamesh"]["partial"]) == ("stop", False)
    part = reply.completion(replace(answer("p1", "x"), partial=True, detail="at its deadline"))
    assert (part["partial"], part["partial_reason"]) == (True, "at its deadline")
    assert part["choices"][0]["finish_reason"] == "length"


@pytest.mark.broker
async def test_pieces_arrive_while_the_answer_is_being_made(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    """Through a gateway process: the device goes on only once the client has read what it said before."""
    read: list[str] = []

    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            prompt_id = message.prompt_id
            await device.say(PromptReceipt(prompt_id, DEVICE, None))
            for index, piece in enumerate(("the ", "sky ", "is blue")):
                await device.say(TokenChunk(prompt_id, index, piece))
                await until(lambda piece=piece: piece in read, f"{piece!r} at the client")  # type: ignore[misc]  # default binds
            await device.say(answer(prompt_id, "the sky is blue"))

    async with scripted_device(mosquitto.url, script) as device:
        await device.announce(ONLINE)
        with gateway_of(mosquitto.url, "test", tmp_path) as gateway:
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                url = f"{gateway.api}/chat/completions"
                body = {"model": "local", "stream": True, "messages": [{"role": "user", "content": "why?"}]}
                async with client.stream("POST", url, json=body) as response:
                    assert response.status_code == 200, await response.aread()
                    assert response.headers["content-type"].startswith("text/event-stream")
                    assert response.headers["cache-control"] == "no-cache"
                    async for line in response.aiter_lines():
                        read += texts_of([line])
    assert [text for text in read if text] == ["the ", "sky ", "is blue"]
