from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.mqtt.link import Incoming
from edge_agent.adapters.mqtt.reader import CORRELATION_BYTES_MAX, RETAINED_SEEN_MAX, Reader
from edge_agent.core import messages as m
from edge_agent.core.events import BadInputReceived, Event, PeerMessageReceived, PromptReceived, ReplyRoute
from edge_agent.wire import topics
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import presence, request
from tests.wire.strategies import messages

READER = Reader("test", "a", 10_000)
ANSWERS = topics.build("test", "a", Channel.ANSWERS, "c1")
PROMPTS = topics.build("test", "a", Channel.PROMPTS)
PROMPT = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))


def read(
    topic: str, body: bytes, *, response: str = "", correlation: bytes = b"", retain: bool = False
) -> Event | None:
    return READER.read(Incoming(topic, body, 1, retain, 1, response, correlation))


@given(
    channel=st.sampled_from(Channel),
    device=st.sampled_from(["a", "b"]),
    body=st.binary(max_size=50) | messages().map(encode),
    response=st.sampled_from(["", ANSWERS, "x/#", PROMPTS]) | st.text(max_size=20),
    correlation=st.binary(max_size=200),
    retain=st.booleans(),
)
def test_whatever_arrives_becomes_one_event_or_none_and_a_way_back_is_always_our_own_answers(
    channel: Channel, device: str, body: bytes, response: str, correlation: bytes, retain: bool
) -> None:
    client = "c1" if channel is Channel.ANSWERS else ""
    event = read(
        topics.build("test", device, channel, client), body, response=response, correlation=correlation, retain=retain
    )
    route = getattr(event, "reply", None)
    assert route is None or topics.is_own_answer(route.topic, "test", "a")


def test_a_retained_message_in_an_inbox_is_refused_once_and_says_how_to_clear_it() -> None:
    reader = Reader("test", "a", 1000)

    def retained(topic: str, body: bytes, response: str = "") -> BadInputReceived | None:
        event = reader.read(Incoming(topic, body, 1, True, 1, response, b""))
        assert event is None or isinstance(event, BadInputReceived)
        return event

    first = retained(PROMPTS, encode(PROMPT), ANSWERS)
    assert first is not None
    assert (first.message_id, first.reply) == ("p1", ReplyRoute(ANSWERS))
    assert f"`mosquitto_pub -r -n -t {PROMPTS}` removes it" in first.detail
    assert retained(PROMPTS, encode(PROMPT), ANSWERS) is None, "as at the next connect"
    assert retained(PROMPTS, encode(m.PromptCancel("p1")), ANSWERS) is not None
    broken = retained(PROMPTS, b'{"id": "p2", "reply_to": "%s", }' % ANSWERS.encode())
    assert broken is not None
    assert broken.reply == ReplyRoute(ANSWERS, "", "p2")
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
    assert refused.reply is None


def test_the_response_property_comes_before_the_body() -> None:
    body = b'{"v":1,"type":"prompt","id":"p1","text":"What is a dog?","reply_to":"somewhere"}'
    event = read(PROMPTS, body, response=ANSWERS)
    assert event == PromptReceived(PROMPT, ReplyRoute(ANSWERS, "", "p1"), len(body))
    assert isinstance(read(PROMPTS, body), BadInputReceived)


def test_a_bad_prompt_of_a_3_1_1_client_names_its_way_back() -> None:
    body = b'{"v":1,"type":"prompt","id":"p1","text":"","reply_to":"%s"}' % ANSWERS.encode()
    event = read(PROMPTS, body)
    assert isinstance(event, BadInputReceived)
    assert (event.reply, event.message_id) == (ReplyRoute(ANSWERS, "", "p1"), "p1")


def test_own_and_cleared_presence_is_ignored_and_that_of_others_is_not() -> None:
    online = presence("b", m.PresenceState.ONLINE)
    others = topics.build("test", "b", Channel.PRESENCE)
    assert read(others, b"") is None
    assert read(topics.build("test", "a", Channel.PRESENCE), encode(presence("a", m.PresenceState.OFFLINE))) is None
    assert read(others, encode(online), retain=True) == PeerMessageReceived(online)


def test_a_message_for_another_device_or_mesh_or_on_the_wrong_inbox_is_refused() -> None:
    body = encode(request())
    assert read(topics.build("test", "a", Channel.PROPOSALS), body) == PeerMessageReceived(request())
    for topic in (
        topics.build("test", "b", Channel.PROPOSALS),
        topics.build("other", "a", Channel.PROPOSALS),
        topics.build("test", "a", Channel.REPLIES),
        topics.build("test", "a", Channel.STATUS),
        "moamesh",
    ):
        assert isinstance(read(topic, body), BadInputReceived)
