"""The transport against real brokers."""

from __future__ import annotations

import json

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.core import messages as m
from edge_agent.core.events import (
    BadInputReceived,
    ConnectionChanged,
    PeerMessageReceived,
    PromptCancelReceived,
    PromptReceived,
    ReplyRoute,
)
from edge_agent.wire import topics
from edge_agent.wire.codec import decode, encode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import device, entry, presence, request, until, user

pytestmark = pytest.mark.broker

ANSWERS = topics.build("test", "a", Channel.ANSWERS, "me", "c1")
PROMPT = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))
CONTRIBUTION = m.Contribution("a", "model", 0.0, 0.1, 3, 4)


async def test_messages_between_devices_arrive_as_they_were_sent(any_broker: EmbeddedBroker) -> None:
    sent: list[m.PeerMessage] = [
        request(),
        m.RequestCancel("r0", "a"),
        m.RequestReceipt("r0", "a", None, 3, 1.5),
        m.ProposalResponse("r0", m.ItemOutcome.COMPLETED, "A dög.", "", CONTRIBUTION),
        m.ViewExchange((entry("a"),), True),
    ]
    async with device("a", any_broker.url) as a, device("b", any_broker.url) as b:
        for message in sent:
            a.transport.send_to_device("b", "", message, 30.0)
        await b.arrival(PeerMessageReceived, len(sent))
        got = [event.message for event in b.of(PeerMessageReceived)]
        for message in sent:
            assert message in got
        assert a.transport.counters.dropped == 0
        assert not a.of(PeerMessageReceived)


async def test_a_prompt_arrives_with_its_way_back_and_is_answered_on_it(any_broker: EmbeddedBroker) -> None:
    async with device("a", any_broker.url) as a, user(any_broker.url, ANSWERS) as asker:
        body = encode(PROMPT)
        await asker.prompt(body, response=ANSWERS, correlation=b"\x00\xffk")
        event = await a.arrival(PromptReceived)
        assert event == PromptReceived(PROMPT, ReplyRoute("me", "c1", "00ff6b"), len(body))
        delivered: list[bool] = []
        receipt = m.PromptReceipt("p1", "a", 0.5)
        a.transport.send_to_user(event.reply, receipt, delivered.append)
        reply = await asker.arrival()
        assert decode(reply.payload) == receipt
        assert reply.properties is not None
        assert reply.properties.CorrelationData == b"\x00\xffk"
        await until(lambda: delivered, "the broker's acknowledgement")
        await asker.prompt(encode(m.PromptCancel("p1")), response=ANSWERS)
        assert await a.arrival(PromptCancelReceived) == PromptCancelReceived("p1", ReplyRoute("me", "c1"))


async def test_a_3_1_1_client_names_its_way_back_in_the_body(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, user(mosquitto.url, ANSWERS) as asker:
        body = {"v": 2, "type": "prompt", "text": "What is a dog?", "client": "c1", "id": "p1"}
        await asker.prompt(json.dumps(body).encode())
        event = await a.arrival(PromptReceived)
        assert event.prompt == PROMPT
        assert event.reply == ReplyRoute("me", "c1", "", "p1")
        a.transport.send_to_user(event.reply, m.TokenChunk("p1", 0, "A"))
        assert json.loads((await asker.arrival()).payload)["id"] == "p1"


@pytest.mark.parametrize(
    "response",
    [
        topics.build("test", "b", Channel.ANSWERS, "me", "c1"),
        topics.build("test", "a", Channel.ANSWERS, "user.alice", "c1"),
        topics.build("test", "a", Channel.PROMPTS, "me"),
        topics.build("other", "a", Channel.ANSWERS, "me", "c1"),
        "somewhere/else",
    ],
)
async def test_a_prompt_with_a_response_topic_elsewhere_is_refused_and_nothing_is_published_there(
    mosquitto: EmbeddedBroker, response: str
) -> None:
    async with device("a", mosquitto.url) as a, user(mosquitto.url, "somewhere/#", "moamesh/#") as asker:
        await asker.prompt(encode(PROMPT), response=response)
        event = await a.arrival(BadInputReceived)
        assert event.reply == ReplyRoute("me", "0")
        assert event.detail.startswith("response topic: ")
        assert event.message_id == "p1"
        assert a.transport.counters.bad == 1
        assert not a.of(PromptReceived)
        assert {str(message.topic) for message in asker.got} <= {topics.build("test", "a", Channel.PROMPTS, "me")}


async def test_the_transport_itself_publishes_to_no_foreign_topic(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a:
        a.transport.send_to_user(ReplyRoute("somewhere/else", "x"), m.TokenChunk("p1", 0, "A"))
        a.transport.send_to_device("b/+/#", "", request(), None)
        assert a.transport.counters.dropped == 2
        assert a.transport.counters.sent == 0


async def test_bad_bodies_become_bad_input_with_a_way_back_and_disturb_nothing(mosquitto: EmbeddedBroker) -> None:
    bad = {
        b"": m.RefusalReason.INVALID,
        b"\xff\xfe{": m.RefusalReason.INVALID,
        b'{"v":9,"type":"prompt"}': m.RefusalReason.UNSUPPORTED_VERSION,
        b"x" * 1_000_000: m.RefusalReason.TOO_LARGE,
    }
    async with device("a", mosquitto.url) as a, user(mosquitto.url, ANSWERS) as asker:
        for body in bad:
            await asker.prompt(body, response=ANSWERS)
        await asker.prompt(encode(PROMPT), response=ANSWERS)
        await a.arrival(PromptReceived)
        assert [event.reason for event in a.of(BadInputReceived)] == list(bad.values())
        assert {event.reply for event in a.of(BadInputReceived)} == {ReplyRoute("me", "c1")}
        assert a.of(ConnectionChanged) == [ConnectionChanged(True)]


async def test_bad_bodies_of_peers_are_counted_and_name_no_way_back(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, user(mosquitto.url) as peer:
        for channel in (Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP):
            await peer.client.publish(topics.build("test", "a", channel, "z"), b"{}", qos=1)
        await peer.client.publish(topics.build("test", "z", Channel.PRESENCE), b"{}", qos=1)
        wrong = encode(presence("y", m.PresenceState.ONLINE))
        await peer.client.publish(topics.build("test", "z", Channel.PRESENCE), wrong, qos=1)
        await peer.client.publish(topics.build("test", "z", Channel.PRESENCE), b"", qos=1)
        await a.arrival(BadInputReceived, 5)
        a.transport.send_to_device("a", "", request(), None)
        await a.arrival(PeerMessageReceived)
        assert len(a.of(BadInputReceived)) == a.transport.counters.bad == 5
        assert all(event.reply is None for event in a.of(BadInputReceived))


async def test_presence_of_others_arrives_also_when_it_was_published_before(mosquitto: EmbeddedBroker) -> None:
    online = presence("a", m.PresenceState.ONLINE)
    async with device("a", mosquitto.url) as a:
        a.transport.publish_presence(online)
        await until(lambda: a.transport.counters.delivered, "the presence")
        async with device("b", mosquitto.url) as b:
            assert (await b.arrival(PeerMessageReceived)).message == online
        assert not a.of(PeerMessageReceived)


async def test_status_is_retained(mosquitto: EmbeddedBroker) -> None:
    status = m.DeviceStatus(
        "a", "m", True, 5.0, 0, 0, 0.0, 0.0, 32, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0, 0, 0, 0, 0, 0, 0, 0
    )
    async with device("a", mosquitto.url) as a:
        a.transport.publish_status(status)
        await until(lambda: a.transport.counters.sent and not a.transport._home.waiting, "the write")  # type: ignore[union-attr]  # started
        async with user(mosquitto.url, topics.build("test", "a", Channel.STATUS)) as watcher:
            assert decode((await watcher.arrival()).payload) == status


async def test_the_will_fires_when_a_device_dies_and_not_when_it_stops(mosquitto: EmbeddedBroker) -> None:
    async with device("b", mosquitto.url) as b:
        async with device("a", mosquitto.url) as a:
            a.transport.publish_presence(presence("a", m.PresenceState.STOPPED))
        assert (await b.arrival(PeerMessageReceived)).message == presence("a", m.PresenceState.STOPPED)
        async with device("a", mosquitto.url, backoff_min_s=30.0, backoff_max_s=60.0) as a:
            a.cut()
            await b.arrival(PeerMessageReceived, 2)
        assert [event.message for event in b.of(PeerMessageReceived)] == [
            presence("a", m.PresenceState.STOPPED),
            presence("a", m.PresenceState.OFFLINE),
        ]
