"""A connection: what it waits for, and that nothing is left of it when its task ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.mqtt import Link, MqttError, open_client
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

CONNACK = bytes((0x20, 3, 0, 0, 0))


@contextlib.asynccontextmanager
async def saying(words: bytes, last_words_at: int = 0) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A broker that takes a connection, says `words` to the first byte and then nothing; it hangs up on packet
    `last_words_at`, if not 0. Yields its URL, and whether somebody has come."""
    came = asyncio.Event()

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        reads = 0
        while await reader.read(65536):
            reads += 1
            if reads == 1:
                writer.write(words)
            if reads == last_words_at:
                break
        writer.close()

    async with await asyncio.start_server(stay, "127.0.0.1", 0) as server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", came


@pytest.mark.parametrize("tls", [False, True], ids=["no CONNACK", "no TLS"])
async def test_who_is_cancelled_while_it_connects_leaves_no_thread_that_waits(tls: bool) -> None:
    async with saying(b"") as (url, came):
        url = url.replace("mqtt:", "mqtts:") if tls else url
        # a thread that was left alone would not be back before the test is over
        link = Link(open_client(url, client_id="a", connect_timeout_s=10 * PATIENCE_S))

        async def connect() -> None:
            async with link:
                pass

        connecting = asyncio.create_task(connect())
        await came.wait()
        connecting.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(asyncio.CancelledError):
                await connecting
            await asyncio.get_running_loop().shutdown_default_executor()


async def test_what_waits_for_an_answer_hears_at_once_that_the_connection_is_lost() -> None:
    async with saying(CONNACK, last_words_at=2) as (url, _), Link(open_client(url, client_id="a")) as link:
        with pytest.raises(MqttError, match="the connection broke"):
            await link.deliver("a/topic", b"heard", qos=1)
        with pytest.raises(MqttError, match="the connection broke"):
            await link.receive()
        with pytest.raises(MqttError, match="the connection broke"):
            await link.deliver("a/topic", b"unheard", qos=1)


@pytest.mark.broker
async def test_what_is_delivered_is_told_apart_from_what_is_published(mosquitto: EmbeddedBroker) -> None:
    told: list[tuple[int, int]] = []
    client = open_client(mosquitto.url, client_id="a")
    async with Link(client, on_published=lambda number, code: told.append((number, code))) as link:
        await link.subscribe([("a/+", 1)])
        for qos in (0, 1):
            assert await link.deliver("a/b", b"one", qos=qos, response_topic="c", correlation=b"d") == 0
        assert told == []
        number = link.publish("a/b", b"two", qos=1, expires_in_s=PATIENCE_S)
        came = [await link.receive() for _ in range(3)]
        assert [(one.payload, one.response_topic, one.correlation) for one in came] == [
            *[(b"one", "c", b"d")] * 2,
            (b"two", "", b""),
        ]
        await until(lambda: told == [(number, 0)], "the word on what was only published")
