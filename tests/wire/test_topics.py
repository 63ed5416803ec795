from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.messages import Message, Presence, TokenChunk
from edge_agent.wire import topics
from edge_agent.wire.topics import TABLE, Address, Channel

ids = st.from_regex(topics._ID, fullmatch=True)


@given(mesh=ids, device=ids, client=ids, channel=st.sampled_from(Channel))
def test_a_built_topic_is_parsed_into_what_it_was_built_from(
    mesh: str, device: str, client: str, channel: Channel
) -> None:
    client = client if TABLE[channel].per_client else ""
    topic = topics.build(mesh, device, channel, client)
    assert topics.parse(topic) == Address(mesh, device, channel, client)
    assert len(topic.encode()) < 256


@given(st.text(max_size=80))
def test_parsing_any_text_gives_an_address_that_builds_the_same_text_or_nothing(text: str) -> None:
    for topic in (text, f"moamesh/v1/{text}", f"moamesh/v1/m/devices/{text}", f"moamesh/v1/m/devices/d/answers/{text}"):
        address = topics.parse(topic)
        if address is not None:
            assert topics.build(address.mesh, address.device, address.channel, address.client) == topic


@pytest.mark.parametrize("bad", ["", "A", "a/b", "+", "#", "a b", "ä", "a" * 65, "a\n", "a\0", "$sys"])
def test_what_is_no_id_cannot_get_into_a_topic(bad: str) -> None:
    assert not topics.is_id(bad)
    with pytest.raises(ValueError, match="must be 1 to 64"):
        topics.build(bad, "d", Channel.PROMPTS)
    with pytest.raises(ValueError, match="must be 1 to 64"):
        topics.build("m", bad, Channel.PROMPTS)
    with pytest.raises(ValueError, match=r"client|must be 1 to 64"):
        topics.build("m", "d", Channel.ANSWERS, bad)
    assert topics.parse(f"moamesh/v1/m/devices/d/answers/{bad}") is None


def test_every_message_type_is_carried_by_exactly_one_channel() -> None:
    carried = [kind for row in TABLE.values() for kind in row.types]
    assert sorted(kind.__name__ for kind in carried) == sorted(kind.__name__ for kind in get_args(Message))
    assert topics.row_for(TokenChunk("p", 0, "")).channel is Channel.ANSWERS


def test_a_client_level_stands_exactly_where_the_table_wants_one() -> None:
    with pytest.raises(ValueError, match="need a client"):
        topics.build("m", "d", Channel.ANSWERS)
    with pytest.raises(ValueError, match="have no client"):
        topics.build("m", "d", Channel.PROMPTS, "c")
    assert topics.parse("moamesh/v1/m/devices/d/answers") is None
    assert topics.parse("moamesh/v1/m/devices/d/prompts/c") is None


@pytest.mark.parametrize(
    "topic",
    [
        "moamesh/v1/m/devices/other/answers/c",
        "moamesh/v1/other/devices/d/answers/c",
        "moamesh/v1/m/devices/d/prompts",
        "moamesh/v1/m/devices/d/answers/+",
        "moamesh/v1/m/devices/d/answers/#",
        "moamesh/v1/m/devices/d/answers/c/e",
        "moamesh/v1/m/devices/d/answers/",
        "moamesh/v2/m/devices/d/answers/c",
        "$SYS/broker",
        "",
    ],
)
def test_a_response_topic_outside_the_devices_own_answers_is_refused(topic: str) -> None:
    assert not topics.is_own_answer(topic, "m", "d")


def test_a_response_topic_inside_the_devices_own_answers_is_accepted() -> None:
    assert topics.is_own_answer("moamesh/v1/m/devices/d/answers/c", "m", "d")


def test_a_device_reads_its_own_inboxes_and_everyones_presence_and_nothing_else() -> None:
    assert topics.device_subscriptions("m", "d") == (
        ("moamesh/v1/m/devices/d/prompts", 1),
        ("moamesh/v1/m/devices/d/proposals", 1),
        ("moamesh/v1/m/devices/d/replies", 1),
        ("moamesh/v1/m/devices/d/gossip", 0),
        ("moamesh/v1/m/devices/+/presence", 1),
    )


def test_a_user_reads_answers_to_itself_alone() -> None:
    assert topics.user_subscriptions("m", "c") == (
        ("moamesh/v1/m/devices/+/answers/c", 1),
        ("moamesh/v1/m/devices/+/presence", 1),
        ("moamesh/v1/m/devices/+/status", 0),
    )


def test_only_presence_and_status_are_retained_and_only_gossip_and_status_may_be_lost() -> None:
    assert {row.channel for row in TABLE.values() if row.retain} == {Channel.PRESENCE, Channel.STATUS}
    assert {row.channel for row in TABLE.values() if row.qos == 0} == {Channel.GOSSIP, Channel.STATUS}
    assert topics.row_for(_presence()).retain


def _presence() -> Presence:
    from edge_agent.core.messages import PeerEntry, PresenceState

    return Presence(PeerEntry("d", "", "m", "f", 1, 1, 0, None), PresenceState.ONLINE, 4, "1")
