"""What survives broken connections, slow runtimes and full queues, against real brokers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker import kinds
from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.core import messages as m
from edge_agent.core.events import BadInputReceived, ConnectionChanged, Event, PeerMessageReceived, ReplyRoute
from edge_agent.mqtt import open_client
from edge_agent.mqtt.client import PACKET_BYTES_MAX
from edge_agent.wire import topics
from edge_agent.wire.codec import BODY_BYTES_MAX, decode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import Device, device, entry, presence, request, until, user
from tests.support.brokers import MosquittoWith, SayingBroker, connack
from tests.support.patience import PATIENCE_S
from tests.test_tasks import cancel_after

pytestmark = pytest.mark.broker

ANSWERS = topics.build("test", "a", Channel.ANSWERS, "me", "c1")


def messages(one: Device) -> list[m.Message]:
    return [event.message for event in one.of(PeerMessageReceived)]


def ids(one: Device) -> list[str]:
    return [message.request_id for message in messages(one) if isinstance(message, m.ProposalRequest)]


async def test_after_a_restart_of_the_broker_devices_are_back_and_hear_each_other(any_broker: EmbeddedBroker) -> None:
    async with device("a", any_broker.url) as a, device("b", any_broker.url) as b:
        a.transport.publish_presence(presence("a", m.PresenceState.ONLINE))
        await b.arrival(PeerMessageReceived)
        await any_broker.restart()
        for one in (a, b):
            await one.connection(True, 2)
            assert one.of(ConnectionChanged) == [ConnectionChanged(c) for c in (True, False, True)]
        # the new broker knows nothing: presence is told again unasked, and the inbox is subscribed again
        online = presence("a", m.PresenceState.ONLINE)
        await until(lambda: messages(b).count(online) >= 2 and messages(b)[-1] == online, "presence once more")
        a.transport.send_to_device("b", "", request(7), None)
        await until(lambda: messages(b)[-1] == request(7), "the request")


async def test_what_is_sent_while_the_broker_is_down_arrives_when_it_is_back(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, device("b", mosquitto.url) as b:
        await mosquitto.kill()
        await a.connection(False)
        delivered: list[int] = []
        a.transport.send_to_user(ReplyRoute("me", "c1"), m.TokenChunk("p", 0, "late"))
        a.transport.send_to_user(ReplyRoute("me", "c1"), m.PromptReceipt("p", "a", None), delivered.append)
        a.transport.send_to_device("b", "", request(1), 60.0)
        a.transport.send_to_device("b", "", request(2), 0.0)
        await b.connection(False)
        await mosquitto.start()
        await b.connection(True, 2)
        await until(lambda: delivered, "the receipt")
        assert a.transport.counters.dropped == 1, "the token chunk is not worth keeping"
        await until(lambda: a.transport.counters.delivered == 2, "the request that has not expired")
        assert a.transport.counters.expired == 1


async def test_messages_cut_off_before_their_acknowledgement_are_published_again(mosquitto: EmbeddedBroker) -> None:
    count = 60
    async with device("b", mosquitto.url) as b, device("a", mosquitto.url) as a:
        for number in range(count):
            a.transport.send_to_device("b", "", request(number), None)
        a.cut()  # the loop has not run: nothing is acknowledged
        await until(lambda: len(set(ids(b))) == count, "every request")
        assert a.transport.counters.repeated == 16, "those in flight when the connection broke"
        assert list(dict.fromkeys(ids(b))) == [f"r{number}" for number in range(count)], "in the order of sending"


async def test_a_slow_runtime_holds_the_broker_back_and_loses_nothing(any_broker: EmbeddedBroker) -> None:
    count = 400
    async with device("b", any_broker.url, incoming_max=8) as b, device("a", any_broker.url) as a:
        backlogs: list[int] = []
        pauses: list[bool] = []

        async def take_slowly(event: Event) -> None:
            await asyncio.sleep(0.0005)
            backlogs.append(b.link.waiting)
            pauses.append(b.link._intake._paused)
            b.events.append(event)

        b.transport._emit = take_slowly
        for number in range(count):
            a.transport.send_to_device("b", "", request(number, "x" * 10_000), None)
        await until(lambda: len(ids(b)) == count, "every request")
        assert ids(b) == [f"r{number}" for number in range(count)]
        assert max(backlogs) <= 8
        assert any(pauses), "neither broker keeps to ReceiveMaximum by itself"
        assert b.transport.counters.gossip_dropped == 0
        assert b.transport.counters.connection_losses == 0


async def test_of_what_is_too_large_to_be_read_only_the_ends_wait_and_it_is_refused_in_words(
    any_broker: EmbeddedBroker,
) -> None:
    count, size = 8, 1_000_000
    async with device("a", any_broker.url) as a, user(any_broker.url) as asker:
        a.gate.clear()
        for number in range(count):
            body = b'{"v":2,"type":"prompt","prompt_id":"p%d","text":"' % number
            await asker.prompt(body.ljust(size - 2, b"x") + b'"}', response=ANSWERS)
        await until(lambda: a.transport.counters.received == count, "all of it")
        waiting = [(len(message.payload), message.size) for message in a.link._intake._backlog]
        assert len(waiting) == count - 1, "one is being taken"
        assert all(kept < 10_000 and was == size for kept, was in waiting), waiting
        a.gate.set()
        await a.arrival(BadInputReceived, count)
    said = [(event.reason, event.message_id, event.detail) for event in a.of(BadInputReceived)]
    words = f"body: {size} bytes, at most {BODY_BYTES_MAX} are taken"
    assert said == [(m.RefusalReason.TOO_LARGE, f"p{number}", words) for number in range(count)]


async def test_a_broker_is_told_of_how_large_a_packet_we_take_and_keeps_larger_ones(tmp_path: Path) -> None:
    assert PACKET_BYTES_MAX == kinds.PACKET_BYTES_MAX, "what our own brokers take"
    async with MosquittoWith(tmp_path) as broker, device("a", broker.url) as a, user(broker.url) as asker:
        await asker.prompt(b"x" * PACKET_BYTES_MAX)
        await asker.prompt(b"small")
        await a.arrival(BadInputReceived)
        assert a.transport.counters.received == 1
        assert a.of(ConnectionChanged) == [ConnectionChanged(True)]


async def test_a_broker_that_sends_a_larger_packet_all_the_same_is_left_before_it_is_read() -> None:
    huge = b"\x30\xff\xff\xff\x7f" + b"x" * 100_000
    async with (
        SayingBroker(connack(0), then=huge, grants=b"\1" * 5, hang_up=False) as broker,
        device("a", broker.url, connected=False) as a,
    ):
        a.transport.publish_presence(presence("a", m.PresenceState.ONLINE))
        await until(lambda: any("sends a packet of 268,435,455 bytes" in words for words in a.health), "words")


async def test_gossip_gives_way_when_the_runtime_is_behind(mosquitto: EmbeddedBroker) -> None:
    async with device("b", mosquitto.url, incoming_max=4) as b, device("a", mosquitto.url) as a:
        b.gate.clear()
        for _ in range(200):
            a.transport.send_to_device("b", "", m.ViewExchange((entry("a"),), False), None)
        a.transport.send_to_device("b", "", request(1), None)
        await until(lambda: a.transport.counters.delivered, "the request at the broker")
        b.gate.set()
        await until(lambda: request(1) in messages(b), "the request behind it")
        arrived = len(messages(b)) - 1
        assert arrived + b.transport.counters.gossip_dropped == 200


async def test_a_full_outbox_drops_the_least_important_and_keeps_answers(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url, outgoing_max=10) as a, user(mosquitto.url, ANSWERS) as asker:
        await mosquitto.kill()
        await a.connection(False)
        for number in range(50):
            a.transport.send_to_device("b", "", request(number), None)
            if number < 8:
                a.transport.send_to_user(ReplyRoute("me", "c1"), m.PromptReceipt(f"p{number}", "a", None))
        assert a.transport.counters.dropped == 48
        await mosquitto.start()
        await until(lambda: a.transport.counters.delivered == 10, "what was kept")
        assert not asker.got, "its own connection is gone"


async def test_a_message_the_broker_would_hang_up_on_is_not_sent(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, device("b", mosquitto.url) as b:
        a.transport.send_to_device("b", "", request(1, "x" * 2_000_000), None)
        a.transport.send_to_device("b", "", request(2), None)
        await b.arrival(PeerMessageReceived)
        assert ids(b) == ["r2"]
        assert a.transport.counters.refused == 1
        assert a.transport.counters.connection_losses == 0


async def test_a_stop_sends_what_is_queued_first(mosquitto: EmbeddedBroker) -> None:
    async with user(mosquitto.url, ANSWERS) as asker:
        async with device("a", mosquitto.url, flush_s=PATIENCE_S) as a:
            for number in range(100):
                a.transport.send_to_user(ReplyRoute("me", "c1"), m.TokenChunk("p", number, "text"))
        await asker.arrival(100)
        assert [decode(message.payload).index for message in asker.got] == list(range(100))  # type: ignore[union-attr]  # chunks


async def test_a_device_starts_without_a_broker_and_connects_when_there_is_one(mosquitto: EmbeddedBroker) -> None:
    await mosquitto.kill()
    one = Device("a", mosquitto.url)
    await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
    await until(lambda: one.transport.counters.connect_failures >= 2, "two tries")
    assert not one.events
    await mosquitto.start()
    await one.connection(True)
    await one.transport.stop()


async def test_stopping_is_quick_and_harmless_at_any_moment(mosquitto: EmbeddedBroker) -> None:
    before = asyncio.all_tasks()
    never = Device("a", mosquitto.url)
    await never.transport.stop()
    for _ in range(3):
        one = Device("a", mosquitto.url)
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await one.transport.stop()
        await one.transport.stop()
    assert asyncio.all_tasks() == before


async def test_what_arrives_while_a_device_restarts_is_kept_by_a_broker_that_can(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a:
        async with device("b", mosquitto.url, install="b1"):
            pass
        a.transport.send_to_device("b", "", request(5), 60.0)
        await until(lambda: a.transport.counters.delivered, "the broker")
        async with device("b", mosquitto.url, install="b1") as b:
            await b.arrival(PeerMessageReceived)
            assert ids(b) == ["r5"]


async def test_nothing_is_acknowledged_before_the_runtime_took_it(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a:
        async with device("b", mosquitto.url, install="b1") as b:
            b.gate.clear()
            for number in range(5):
                a.transport.send_to_device("b", "", request(number), None)
            await until(lambda: b.transport.counters.received == 5, "the requests")
            home = b.transport._home
            assert home is not None
            assert home._link is not None
            await home._tasks.stop()  # the runtime dies before it took any of them
            await until(lambda: home._link is None, "the end")
        async with device("b", mosquitto.url, install="b1") as b:
            await until(lambda: len(ids(b)) == 5, "all five again")


def test_a_transport_can_be_made_outside_an_event_loop() -> None:
    assert not MqttTransport(MqttSettings("a", "test", "mqtt://127.0.0.1:1")).connected


async def test_a_broker_that_hangs_up_before_its_connack_is_tried_again_at_once() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        one = Device("a", f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await until(lambda: one.transport.counters.connect_failures >= 5, "five tries, each far below a timeout")
        await one.transport.stop()


@contextlib.asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A broker that takes a connection, waits for the first byte, says `words`, and then nothing; its port, and
    whether somebody has come."""
    came = asyncio.Event()

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read(1)
        writer.write(words)
        while await reader.read(1024):
            pass
        writer.close()

    async with await asyncio.start_server(stay, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], came


CONNACK = bytes((0x20, 3, 0, 0, 0))


@pytest.mark.parametrize(
    ("scheme", "words"), [("mqtt", b""), ("mqtt", CONNACK), ("mqtts", b"")], ids=["no CONNACK", "no SUBACK", "no TLS"]
)
async def test_a_broker_that_takes_a_connection_and_says_nothing_holds_nobody_who_leaves(
    scheme: str, words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whoever waited for any of these would not be back before the test is over
    monkeypatch.setattr("edge_agent.adapters.mqtt.connection.CONNECT_TIMEOUT_S", 10 * PATIENCE_S)
    monkeypatch.setattr("edge_agent.adapters.mqtt.connection.CONNECT_TIMEOUT_MAX_S", 10 * PATIENCE_S)
    monkeypatch.setattr("edge_agent.adapters.mqtt.connection.END_TIMEOUT_S", 10 * PATIENCE_S)
    async with saying(words) as (port, came):
        one = Device("a", f"{scheme}://127.0.0.1:{port}")
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await came.wait()
        async with asyncio.timeout(PATIENCE_S):
            await one.transport.stop()
        async with asyncio.timeout(PATIENCE_S):  # as asyncio.run does in the end: no thread is left that waits
            await asyncio.get_running_loop().shutdown_default_executor()


async def test_a_broker_whose_answers_take_long_is_given_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.adapters.mqtt.connection.CONNECT_TIMEOUT_S", 0.1)
    async with saying(b"") as (port, _):
        one = Device("a", f"mqtts://127.0.0.1:{port}")
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        home = one.transport._home
        assert home is not None
        await until(lambda: home._connect_timeout_s >= 0.4, "twice the time, twice")
        await one.transport.stop()


BUSY = bytes((0xE0, 2, 137, 0))  # a DISCONNECT with reason 137


@pytest.mark.parametrize("last_words", [b"", CONNACK, CONNACK + BUSY, b"nonsense"])
async def test_however_early_a_broker_hangs_up_asyncio_has_nothing_to_complain_of(last_words: bytes) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(last_words)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        one = Device("a", f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        counters = one.transport.counters
        await until(lambda: counters.connect_failures + counters.connects >= 5, "five tries")
        await one.transport.stop()
    del one
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize("turns", range(5))
async def test_a_task_that_is_cancelled_just_as_the_broker_answers_it_ends(
    turns: int, mosquitto: EmbeddedBroker
) -> None:
    async with open_client(mosquitto.url, client_id="one") as client:

        async def work() -> None:
            await client.publish("a/topic", b"", qos=1)
            await asyncio.Event().wait()  # where a lost cancellation would leave it, for ever

        task = asyncio.create_task(work())
        on_publish = client._client.on_publish
        assert on_publish is not None

        def published(*words: Any) -> None:
            on_publish(*words)
            cancel_after(task, turns)

        client._client.on_publish = published
        await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()
