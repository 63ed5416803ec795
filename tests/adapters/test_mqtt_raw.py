"""The side channel for the mesh's management, over the device's one connection to a real broker."""

from __future__ import annotations

import asyncio

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.mqtt.rate_limiter import LISTS_BURST, LISTS_HZ, RateLimiter
from edge_agent.adapters.mqtt.raw import RawInbox
from edge_agent.adapters.mqtt.settings import MqttCounters
from edge_agent.core import messages as m
from edge_agent.core.events import BadInputReceived, PeerMessageReceived
from edge_agent.mqtt import Incoming
from edge_agent.wire import topics
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import Device, presence, request, until, user

pytestmark = pytest.mark.broker

WATCHED = (Channel.JOBS, Channel.CERTIFICATES, Channel.REVOCATIONS)


class Managed(Device):
    """A device whose management messages are kept; while `busy` is set, taking one waits."""

    def __init__(self, device_id: str, url: str, **settings: object) -> None:
        super().__init__(device_id, url, **settings)
        self.taken: list[tuple[Channel, bytes]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.transport.watch(WATCHED, self.take)

    async def take(self, channel: Channel, body: bytes) -> None:
        await self.free.wait()
        self.taken.append((channel, body))
        if body == b"broken":
            raise RuntimeError("a defect of whoever takes it")

    async def start(self) -> None:
        await self.transport.start(self.emit, presence(self.device_id, m.PresenceState.OFFLINE))
        await self.connection(True)


async def test_bodies_come_as_they_are_one_after_another_and_are_no_events(mosquitto: EmbeddedBroker) -> None:
    a, b = Managed("a", mosquitto.url), Managed("b", mosquitto.url)
    await a.start()
    await b.start()
    sent = [(channel, bytes([number, 0, 255])) for number in range(5) for channel in WATCHED]
    delivered: list[bytes] = []
    for channel, body in sent:
        a.transport.publish_raw("b", "", channel, body, 30.0, lambda body=body: delivered.append(body))
    await until(lambda: len(b.taken) == len(sent), "every body")
    assert [body for _, body in b.taken] == [body for _, body in sent]
    await until(lambda: len(delivered) == len(sent), "every acknowledgement")
    assert not b.of(BadInputReceived)
    assert not b.of(PeerMessageReceived)
    assert a.taken == []
    await a.transport.stop()
    await b.transport.stop()


async def test_a_slow_or_broken_taker_holds_up_no_prompt_and_what_waits_is_bounded(mosquitto: EmbeddedBroker) -> None:
    a, b = Managed("a", mosquitto.url), Managed("b", mosquitto.url, raw_max=4)
    await a.start()
    await b.start()
    b.free.clear()
    for number in range(20):
        a.transport.publish_raw("b", "", Channel.JOBS, b"broken" if number == 0 else b"%d" % number)
    a.transport.send_to_device("b", "", request(1), 30.0)
    await b.arrival(PeerMessageReceived)
    # one is being taken or about to be, four wait
    assert b.transport.counters.raw_dropped in (15, 16)
    b.free.set()
    await until(lambda: len(b.taken) == 20 - b.transport.counters.raw_dropped, "those that were kept")
    a.transport.publish_raw("b", "", Channel.JOBS, b"after")
    await until(lambda: b.taken[-1] == (Channel.JOBS, b"after"), "the next one")
    await a.transport.stop()
    await b.transport.stop()


async def test_who_floods_revocation_lists_keeps_out_neither_jobs_nor_what_others_bring(
    mosquitto: EmbeddedBroker,
) -> None:
    a = Managed("a", mosquitto.url, raw_max=4)
    await a.start()
    a.free.clear()
    lists, jobs = Channel.REVOCATIONS, topics.build("test", "a", Channel.JOBS)
    async with user(mosquitto.url) as stranger:
        for number in range(100):
            await stranger.client.publish(topics.build("test", "a", lists, "mallory"), b"flood %d" % number, qos=1)
        await stranger.client.publish(jobs, b"job", qos=1)
        await stranger.client.publish(topics.build("test", "a", lists, "operator"), b"list", qos=1)
        await stranger.client.publish(jobs, b"last", qos=1)
        await until(lambda: a.transport.counters.received >= 103, "all of it")
        a.free.set()
        await until(lambda: (Channel.JOBS, b"last") in a.taken, "the last job")
    assert (Channel.JOBS, b"job") in a.taken
    assert (lists, b"list") in a.taken
    assert len(a.taken) <= 3 + 1 + 4
    await a.transport.stop()


def test_revocation_lists_have_a_rate_of_their_own_for_each_sender() -> None:
    def turned_away(channel: Channel, sender: str, now: float) -> bool:
        topic = topics.build("test", "a", channel, sender)
        return limiter.over_rate(Incoming(topic, b"", 1, False, 1, "", b""), now) is not None

    limiter = RateLimiter("test", "a", 200.0, 1_000)
    away = [turned_away(Channel.REVOCATIONS, "mallory", 0.0) for _ in range(LISTS_BURST + 3)]
    assert away == [False] * LISTS_BURST + [True] * 3
    assert not turned_away(Channel.REVOCATIONS, "operator", 0.0)
    assert not turned_away(Channel.PROPOSALS, "mallory", 0.0), "what it asks is not counted with it"
    assert not turned_away(Channel.REVOCATIONS, "mallory", 1.0 / LISTS_HZ)


@pytest.mark.parametrize("bound", ["raw_max", "raw_bytes_max"])
async def test_in_a_full_channel_the_newest_of_who_has_most_goes(bound: str) -> None:
    taken: list[bytes] = []

    async def take(channel: Channel, body: bytes) -> None:
        taken.append(body)

    size = 10
    settings = MqttSettings("a", "test", "mqtt://127.0.0.1:1", **{bound: 4 if bound == "raw_max" else 4 * size})
    counters = MqttCounters()
    inbox = RawInbox(frozenset(WATCHED), take, settings, counters)
    for name, sender in (("m1", "m"), ("m2", "m"), ("m3", "m"), ("o1", "o"), ("m4", "m"), ("p1", "p"), ("o2", "o")):
        inbox.put(Channel.REVOCATIONS, sender, name.encode().ljust(size))
    inbox.put(Channel.JOBS, "", b"job".ljust(size))
    inbox.start()
    await until(lambda: len(taken) == 5, "what was kept")
    assert [body.strip() for body in taken] == [b"m1", b"m2", b"o1", b"p1", b"job"]
    assert counters.raw_dropped == 3
    await inbox.stop()


async def test_what_is_retained_too_large_or_not_watched_is_not_taken(mosquitto: EmbeddedBroker) -> None:
    a = Managed("a", mosquitto.url, body_bytes_max=1000)
    await a.start()
    jobs = topics.build("test", "a", Channel.JOBS)
    async with user(mosquitto.url) as stranger:
        await stranger.client.publish(jobs, b"x" * 1001, qos=1)
        await stranger.client.publish(topics.build("test", "a", Channel.RENEWALS), b"not mine", qos=1)
        await stranger.client.publish(jobs, b"good", qos=1)
        await until(lambda: a.taken, "the good one")
        assert a.taken == [(Channel.JOBS, b"good")]
        assert a.transport.counters.bad == 1
        await stranger.client.publish(jobs, b"stays", qos=1, retain=True)
        await until(lambda: len(a.taken) == 2, "it was fresh when it came")
        await stranger.client.publish(jobs, b"last", qos=1)
        await until(lambda: len(a.taken) == 3, "the last")  # so what came before it is acknowledged, and not sent again
        a.cut()
        await a.connection(True, 2)
        await until(lambda: a.transport.counters.bad == 2, "the repeat at the reconnect")
        assert [body for _, body in a.taken].count(b"stays") == 1
        await stranger.client.publish(jobs, b"", qos=1, retain=True)
    await a.transport.stop()


async def test_reports_go_out_under_the_own_name_and_wait_for_the_broker(mosquitto: EmbeddedBroker) -> None:
    a = Managed("a", mosquitto.url)
    await a.start()
    await mosquitto.kill()
    await a.connection(False)
    done: list[int] = []
    a.transport.publish_raw("a", "", Channel.JOB_REPORTS, b"running", 60.0, lambda: done.append(1))
    a.transport.publish_raw("a", "", Channel.JOB_REPORTS, b"too late", 0.0, lambda: done.append(2))
    await mosquitto.start()
    await until(lambda: done, "the report")
    assert done == [1]
    await a.transport.stop()


def test_only_management_channels_that_a_device_reads_are_watched_and_only_theirs_published() -> None:
    async def take(channel: Channel, body: bytes) -> None:
        raise AssertionError("never")

    transport = MqttTransport(MqttSettings("a", "test", "mqtt://127.0.0.1:1"))
    for channel in (Channel.PROMPTS, Channel.GOSSIP, Channel.CLAIMS, Channel.JOB_REPORTS):
        with pytest.raises(ValueError, match="not a management channel"):
            transport.watch([channel], take)
    with pytest.raises(ValueError, match="not a management channel"):
        transport.publish_raw("a", "", Channel.ANSWERS, b"")
    with pytest.raises(ValueError, match="device must be"):
        transport.publish_raw("#", "", Channel.JOBS, b"")
