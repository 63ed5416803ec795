"""What plain MQTT 3.1.1 clients get wrong, over a real broker to a whole device: answered, or refused in words.

The client is paho alone: what it sends is bytes, and what it gets back is read as JSON and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.embedded import EmbeddedBroker
from edge_agent.client import MeshClient
from edge_agent.wire import topics
from edge_agent.wire.topics import Channel
from tests.support.brokers import mosquitto
from tests.support.hosts import MESH, mesh_of, until

__all__ = ["mosquitto"]

PROMPTS = topics.build(MESH, "d0", Channel.PROMPTS, "me")
ANSWERS = topics.build(MESH, "d0", Channel.ANSWERS, "me", "esp32")
DEFAULT = topics.build(MESH, "d0", Channel.ANSWERS, "me", "0")
GOOD = json.dumps({"v": 2, "type": "prompt", "id": "p1", "client": "esp32", "text": "Grüße?", "options": {"layers": 0}})


class Plain:
    """An MQTT 3.1.1 client of a few lines, as people write them."""

    def __init__(self, url: str) -> None:
        self.got: list[dict[str, Any]] = []
        self.topics: list[str] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="esp32", protocol=MQTTProtocolVersion.MQTTv311)
        self._client.on_message = self._take
        host, port = url.removeprefix("mqtt://").split(":")
        self._client.connect(host, int(port))
        self._client.loop_start()
        self._subscribed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._client.on_subscribe = lambda *_: loop.call_soon_threadsafe(self._subscribed.set)

    def _take(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self.topics.append(message.topic)
        self.got.append(json.loads(message.payload))

    async def listen(self) -> None:
        self._client.subscribe(topics.topic_filter(MESH, "d0", Channel.ANSWERS, "me"), 1)
        await self._subscribed.wait()

    def send(self, body: bytes, *, topic: str = PROMPTS, retain: bool = False) -> None:
        self._client.publish(topic, body, 1, retain)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    async def ended(self, count: int = 1) -> dict[str, Any]:
        """Waits for the `count`-th answer or refusal."""

        def ends() -> list[dict[str, Any]]:
            return [one for one in list(self.got) if one["type"] in ("answer", "prompt-refusal")]

        await until(lambda: len(ends()) >= count, f"end {count} of {self.got}")
        return ends()[count - 1]


@contextlib.asynccontextmanager
async def plain_client(url: str) -> AsyncIterator[Plain]:
    one = Plain(url)
    try:
        await one.listen()
        yield one
    finally:
        await asyncio.to_thread(one.close)


def prompt(**changes: Any) -> bytes:
    return json.dumps(json.loads(GOOD) | changes, ensure_ascii=False).encode()


HARMLESS = {
    "a trailing zero, as of a C string": GOOD.encode() + b"\0",
    "many of them": GOOD.encode() + b"\0" * 40,
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "blanks around it": b" \r\n\t" + GOOD.encode() + b" \r\n\0",
}

REFUSED = {
    "UTF-16": (GOOD.encode("utf-16"), "body: UTF-16"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "body: UTF-16"),
    "UTF-16 of the other order": (GOOD.encode("utf-16-be"), "body: UTF-16"),
    "Latin-1": (prompt().decode().encode("latin-1"), "body: not UTF-8: byte 0xfc"),
    "NaN": (GOOD.replace('{"layers": 0}', '{"layers": NaN}').encode(), "JSON has no NaN"),
    "a raw line break": (GOOD.replace("Gr", "a\nb").encode(), "a line break or tab"),
    "single quotes": (GOOD.replace('"', "'").encode(), 'stand in "'),
    "a comma too many": (GOOD[:-1].encode() + b",}", "body: not JSON"),
    "cut off": (GOOD[:-20].encode(), "body: not JSON"),
    "names without quotes": (GOOD.replace('"v"', "v").replace('"client"', "client").encode(), "body: not JSON"),
    "a comment": (GOOD.encode() + b" // a prompt", "body: not JSON"),
    "two at once": (GOOD.encode() * 2, "body: not JSON"),
    "a list": (f"[{GOOD}]".encode(), "body: not a JSON object"),
    "too large": (prompt(text="x" * 300_000), "at most 262144"),
    "too large, id last": (f'{{"v": 2, "text": "{"x" * 300_000}", "id": "p1"}}'.encode(), "at most 262144"),
    "an id that is a number": (prompt(id=7), "id: must be a text"),
    "an older version": (prompt(v=1), "schema version"),
    "a newer version": (prompt(v=3), "schema version"),
    "no text": (prompt(text=""), "the prompt is empty"),
    "an unknown field": (prompt(colour="red"), "colour: no such field"),
}

NAMELESS = {
    "nothing at all": (b"", "body: empty"),
    "zeros": (b"\0" * 16, "body: empty"),
    "plain text": (b"Why is the sky blue?", "body: not JSON"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "body: not UTF-8"),
}
"""What shows no id of its own."""


async def test_what_is_around_a_body_harms_nobody(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    async with mesh_of(1, mosquitto.url, tmp_path), plain_client(mosquitto.url) as client:
        for number, (name, body) in enumerate(HARMLESS.items(), 1):
            client.send(body.replace(b'"p1"', b'"p%d"' % number))
            end = await client.ended(number)
            assert end["type"] == "answer", (name, end)


async def test_what_is_no_prompt_is_refused_in_words_where_its_topic_says(
    mosquitto: EmbeddedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh_of(1, mosquitto.url, tmp_path) as (d0,), plain_client(mosquitto.url) as client:
        for number, (name, (body, words)) in enumerate(REFUSED.items(), 1):
            client.send(body)
            end = await client.ended(number)
            assert end["type"] == "prompt-refusal", (name, end)
            assert words in end["detail"], (name, end)
            assert name == "an id that is a number" or end["id"] == "p1", (name, end)
            parsed = not end["detail"].startswith(("body: ", "id: "))
            assert client.topics[-1] == (ANSWERS if parsed else DEFAULT), name
            assert "its sender is notified" in caplog.text
        assert d0.agent.counters.bad_input == d0.transport.counters.bad == len(REFUSED)


async def test_what_shows_no_id_is_refused_too_and_is_a_line_in_the_log_and_counted_where_people_look(
    mosquitto: EmbeddedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        mesh_of(1, mosquitto.url, tmp_path) as (d0,),
        plain_client(mosquitto.url) as client,
        MeshClient(mosquitto.url, MESH) as watcher,
    ):
        await watcher.start_watching()
        for number, (name, (body, words)) in enumerate(NAMELESS.items(), 1):
            client.send(body)
            end = await client.ended(number)
            assert (end["type"], end["prompt_id"]) == ("prompt-refusal", ""), (name, end)
            assert client.topics[-1] == DEFAULT
            assert words in end["detail"], (name, end)
            assert words in caplog.text, name
        assert PROMPTS in caplog.text
        assert d0.transport.counters.bad == len(NAMELESS)

        def told() -> int:
            view = watcher.roster.get("d0")
            return view.status.bad_input if view is not None and view.status is not None else 0

        await until(lambda: told() == len(NAMELESS), "the status")


async def test_a_client_that_is_wrong_all_night_does_not_fill_the_log(
    mosquitto: EmbeddedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh_of(1, mosquitto.url, tmp_path) as (d0,), plain_client(mosquitto.url) as client:
        for number in range(200):
            client.send(b"{%d" % number)
        await until(lambda: d0.transport.counters.bad == 200, "all of it")
        assert len([one for one in caplog.messages if "no message: " in one]) == 1


async def test_a_retained_prompt_runs_when_it_is_sent_and_never_again(
    mosquitto: EmbeddedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with mesh_of(1, mosquitto.url, tmp_path) as (d0,), plain_client(mosquitto.url) as client:
        client.send(GOOD.encode(), retain=True)
        assert (await client.ended())["type"] == "answer"
        completed = d0.agent._context.counters.prompts_repeated
        for _ in range(3):
            d0.transport.renew()  # connects anew, and subscribes
            connects = d0.transport.counters.connects
            await until(lambda n=connects: d0.transport.counters.connects > n, "anew")  # type: ignore[misc]  # bound now
        refusal = await client.ended(2)
        assert "retained" in refusal["detail"]
        assert f"mosquitto_pub -r -n -t {PROMPTS}" in refusal["detail"]
        await until(lambda: d0.transport.connected, "the last time")
        client.send(prompt(id="p2"))
        await until(lambda: any(one["id"] == "p2" for one in client.got), "the next one")
        # counted here, not where it is heard: a word that was not acknowledged before `renew` is sent once more
        assert d0.transport.counters.bad == 1, "one refusal, not one at each connect"
        assert len([one for one in caplog.messages if "retained, so it would come" in one]) == 1
        assert d0.agent._context.counters.prompts_repeated == completed
