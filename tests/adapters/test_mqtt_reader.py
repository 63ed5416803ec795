from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.mqtt.reader import CORRELATION_BYTES_MAX, RETAINED_SEEN_MAX, Reader
from edge_agent.core import messages as m
from edge_agent.core.events import (
    BadInputReceived,
    Event,
    OwnPresenceReceived,
    PeerMessageReceived,
    PromptReceived,
    ReplyRoute,
)
from edge_agent.mqtt import Incoming
from edge_agent.wire import topics
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import entry, presence, request
from tests.wire.strategies import messages

READER = Reader("test", "a", 10_000)
ANSWERS = topics.build("test", "a", Channel.ANSWERS, "user.alice", "c1")
PROMPTS = topics.build("test", "a", Channel.PROMPTS, "user.alice")
ROUTE = ReplyRoute("user.alice", "c1")
PROMPT = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))


def read(
    topic: str, body: bytes, *, response: str = "", correlation: bytes = b"", retain: bool = False
) -> Event | None:
    return READER.read(Incoming(topic, body, 1, retain, 1, response, correlation))


@given(
    channel=st.sampled_from(Channel),
    device=st.sampled_from(["a", "b"]),
    body=st.binary(max_size=50) | messages().map(encode),
    sender=st.sampled_from(["user.alice", "user.bob", "b", "me"]),
    response=st.sampled_from(["", ANSWERS, "x/#", PROMPTS]) | st.text(max_size=20),
    correlation=st.binary(max_size=200),
    retain=st.booleans(),
)
def test_whatever_arrives_becomes_one_event_or_none_and_a_way_back_is_always_the_senders(
    channel: Channel, device: str, body: bytes, sender: str, response: str, correlation: bytes, retain: bool
) -> None:
    levels = (sender, "c1")[: len(topics.TABLE[channel].levels)]
    topic = topics.build("test", device, channel, *levels)
    event = read(topic, body, response=response, correlation=correlation, retain=retain)
    route = getattr(event, "reply", None)
    assert (route is not None) <= (channel is Channel.PROMPTS)
    assert route is None or (route.principal == sender and topics.is_id(route.client))


def test_a_retained_message_in_an_inbox_is_refused_once_and_says_how_to_clear_it() -> None:
    reader = Reader("test", "a", 1000)

    def retained(topic: str, body: bytes, response: str = "") -> BadInputReceived | None:
        event = reader.read(Incoming(topic, body, 1, True, 1, response, b""))
        assert event is None or isinstance(event, BadInputReceived)
        return event

    first = retained(PROMPTS, encode(PROMPT), ANSWERS)
    assert first is not None
    assert (first.message_id, first.reply) == ("p1", ROUTE)
    assert f"`mosquitto_pub -r -n -t {PROMPTS}` removes it" in first.detail
    assert retained(PROMPTS, encode(PROMPT), ANSWERS) is None, "as at the next connect"
    assert retained(PROMPTS, encode(m.PromptCancel("p1")), ANSWERS) is not None
    query = retained(PROMPTS, encode(m.AnswersQuery("q1", "p1")), ANSWERS)
    assert query is not None
    assert (query.message_id, query.reply) == ("q1", ROUTE)
    broken = retained(PROMPTS, b'{"id": "p2", "client": "c1", }')
    assert broken is not None
    assert broken.reply == ReplyRoute("user.alice", "0", "", "p2")
    jobs = retained(topics.build("test", "a", Channel.JOBS), b"{}")
    assert jobs is not None
    assert jobs.detail.startswith("jobs: retained")
    for number in range(200):
        retained(PROMPTS, b"%d" % number)
    assert len(reader._retained_seen) == RETAINED_SEEN_MAX


def test_a_management_body_that_is_too_large_is_named_as_such() -> None:
    event = read(topics.build("test", "a", Channel.JOBS), b"x" * 300_000)
    assert isinstance(event, BadInputReceived)
    assert event.detail.startswith("jobs: 300000 bytes")


def test_an_overlong_correlation_is_refused_and_not_kept() -> None:
    exactly = b"k" * CORRELATION_BYTES_MAX
    event = read(PROMPTS, encode(PROMPT), response=ANSWERS, correlation=exactly)
    assert isinstance(event, PromptReceived)
    refused = read(PROMPTS, encode(PROMPT), response=ANSWERS, correlation=exactly + b"k")
    assert isinstance(refused, BadInputReceived)
    assert refused.reply == ROUTE


def test_the_response_property_comes_before_the_body() -> None:
    body = b'{"v":2,"type":"prompt","id":"p1","text":"What is a dog?","client":"c2"}'
    event = read(PROMPTS, body, response=ANSWERS)
    assert event == PromptReceived(PROMPT, ReplyRoute("user.alice", "c1", "", "p1"), len(body))
    event = read(PROMPTS, body)
    assert event == PromptReceived(PROMPT, ReplyRoute("user.alice", "c2", "", "p1"), len(body))


def test_a_prompt_without_any_word_on_the_way_back_is_answered_at_the_default_client() -> None:
    assert read(PROMPTS, encode(PROMPT)) == PromptReceived(PROMPT, ReplyRoute("user.alice", "0"), len(encode(PROMPT)))


def test_a_response_topic_elsewhere_is_refused_at_the_senders_own_answers() -> None:
    for topic in (
        topics.build("test", "b", Channel.ANSWERS, "user.alice", "c1"),
        topics.build("test", "a", Channel.ANSWERS, "user.bob", "c1"),
        topics.build("other", "a", Channel.ANSWERS, "user.alice", "c1"),
        f"{ANSWERS}/more",
        PROMPTS,
        "somewhere",
    ):
        for body in (encode(PROMPT), encode(m.PromptCancel("p1"))):
            event = read(PROMPTS, body, response=topic)
            assert isinstance(event, BadInputReceived)
            assert event.detail == "response topic: must be answers/user.alice/<client> of this device"
            assert (event.message_id, event.reply) == ("p1", ReplyRoute("user.alice", "0"))


def test_a_body_that_does_not_parse_is_refused_at_the_default_client_or_where_mqtt_5_says() -> None:
    for response, client in (("", "0"), (ANSWERS, "c1"), ("somewhere", "0")):
        event = read(PROMPTS, b"{'id': 'p1'}", response=response)
        assert isinstance(event, BadInputReceived)
        assert event.detail.startswith("body: not JSON")
        assert event.reply == ReplyRoute("user.alice", client, "", "p1")


def test_a_body_of_protocol_1_is_refused_as_such_where_its_sender_reads() -> None:
    body = b'{"v":1,"type":"prompt","id":"p1","text":"why?","reply_to":"moamesh/v1/test/devices/a/answers/alice"}'
    event = read(PROMPTS, body)
    assert isinstance(event, BadInputReceived)
    assert (event.reason, event.reply) == (m.RefusalReason.UNSUPPORTED_VERSION, ReplyRoute("user.alice", "0", "", "p1"))


def test_a_bad_prompt_of_a_3_1_1_client_names_its_way_back() -> None:
    event = read(PROMPTS, b'{"v":2,"type":"prompt","id":"p1","text":"","client":"c1"}')
    assert isinstance(event, BadInputReceived)
    assert (event.reply, event.message_id) == (ReplyRoute("user.alice", "c1", "", "p1"), "p1")


@pytest.mark.parametrize("channel", [Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP])
def test_what_a_device_says_in_anothers_name_is_dropped(channel: Channel) -> None:
    said: dict[Channel, m.Message] = {
        Channel.PROPOSALS: request(),
        Channel.REPLIES: m.RequestReceipt("r1", "a", None, 0, None),
        Channel.GOSSIP: m.ViewExchange((entry("a"), entry("c")), True),
    }
    reader = Reader("test", "b", 1000)

    def heard(sender: str) -> Event | None:
        topic = topics.build("test", "b", channel, sender)
        return reader.read(Incoming(topic, encode(said[channel]), 1, False, 1, "", b""))

    assert heard("a") == PeerMessageReceived(said[channel])
    for liar in ("c", "user.a", "operator"):
        event = heard(liar)
        assert isinstance(event, BadInputReceived)
        assert (event.detail, event.reply) == (f"sender: a speaks on the topic of {liar}", None)


def test_presence_on_anothers_topic_is_dropped() -> None:
    event = read(topics.build("test", "c", Channel.PRESENCE), encode(presence("b", m.PresenceState.ONLINE)))
    assert isinstance(event, BadInputReceived)
    assert event.detail == "sender: b speaks on the topic of c"


def test_cleared_presence_is_ignored_and_ones_own_is_told_apart_from_that_of_others() -> None:
    online = presence("b", m.PresenceState.ONLINE)
    others = topics.build("test", "b", Channel.PRESENCE)
    assert read(others, b"") is None
    own = presence("a", m.PresenceState.OFFLINE)
    assert read(topics.build("test", "a", Channel.PRESENCE), encode(own)) == OwnPresenceReceived(own, retained=False)
    assert read(others, encode(online), retain=True) == PeerMessageReceived(online)


def test_a_message_for_another_device_or_mesh_or_on_the_wrong_inbox_is_refused() -> None:
    body = encode(request())
    assert read(topics.build("test", "a", Channel.PROPOSALS, "a"), body) == PeerMessageReceived(request())
    for topic in (
        topics.build("test", "b", Channel.PROPOSALS, "a"),
        topics.build("other", "a", Channel.PROPOSALS, "a"),
        topics.build("test", "a", Channel.REPLIES, "a"),
        topics.build("test", "a", Channel.STATUS),
        "moamesh",
    ):
        assert isinstance(read(topic, body), BadInputReceived)
