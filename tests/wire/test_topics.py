from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.messages import Message, Presence, TokenChunk
from edge_agent.wire import topics
from edge_agent.wire.topics import TABLE, Address, Channel, Level, Role

V2 = "moamesh/v2"
OF_D = f"{V2}/m/devices/d"
ids = st.from_regex(topics._ID, fullmatch=True)


principals = st.from_regex(topics._PRINCIPAL, fullmatch=True)


@given(mesh=ids, device=ids, principal=principals, client=ids, channel=st.sampled_from(Channel))
def test_a_built_topic_is_parsed_into_what_it_was_built_from(
    mesh: str, device: str, principal: str, client: str, channel: Channel
) -> None:
    levels = (principal, client)[: len(TABLE[channel].levels)]
    topic = topics.build(mesh, device, channel, *levels)
    assert topics.parse(topic) == Address(mesh, device, channel, *levels)


def test_topics_and_bodies_say_one_version() -> None:
    assert f"moamesh/v{topics.VERSION}" == topics.ROOT


def test_the_longest_topic_is_as_long_as_is_said() -> None:
    long = "x" * topics.ID_LENGTH_MAX
    longest = max(
        len(topics.build(long, long, channel, *(f"{topics.CLAIM_LOGIN}{long}", long)[: len(row.levels)]))
        for channel, row in TABLE.items()
    )
    assert topics.TOPIC_BYTES_MAX - 30 < longest < topics.TOPIC_BYTES_MAX


@given(st.text(max_size=80))
def test_parsing_any_text_gives_an_address_that_builds_the_same_text_or_nothing(text: str) -> None:
    inside = (f"{V2}/{text}", f"{V2}/m/devices/{text}", f"{OF_D}/answers/{text}", f"{OF_D}/prompts/{text}")
    for topic in (text, *inside):
        address = topics.parse(topic)
        if address is not None:
            levels = (address.principal, address.client)[: len(TABLE[address.channel].levels)]
            assert topics.build(address.mesh, address.device, address.channel, *levels) == topic


@pytest.mark.parametrize("bad", ["", "A", "a/b", "+", "#", "a b", "ä", "a" * 65, "a\n", "a\0", "$sys"])
def test_what_is_no_id_cannot_get_into_a_topic(bad: str) -> None:
    assert not topics.is_id(bad)
    assert not topics.is_principal(bad)
    assert not topics.is_principal(f"user.{bad}")
    for build in (
        lambda: topics.build(bad, "d", Channel.PROMPTS, "p"),
        lambda: topics.build("m", bad, Channel.PROMPTS, "p"),
        lambda: topics.build("m", "d", Channel.ANSWERS, "p", bad),
    ):
        with pytest.raises(ValueError, match="must be 1 to 64"):
            build()
    for levels in (("prompts", bad), ("answers", bad, "c"), ("answers", "p", bad), ("gossip", bad)):
        assert topics.parse(f"{OF_D}/{'/'.join(levels)}") is None
    for channel, rest in ((Channel.PROMPTS, ()), (Channel.GOSSIP, ()), (Channel.ANSWERS, ("c",))):
        with pytest.raises(ValueError, match="must be an id"):
            topics.build("m", "d", channel, bad, *rest)


@pytest.mark.parametrize("name", ["kitchen", "operator", "user.alice", "claim.kitchen", "me"])
def test_who_a_broker_lets_in_is_a_principal(name: str) -> None:
    assert topics.is_principal(name)


@pytest.mark.parametrize("name", ["admin.alice", "user.", ".alice", "user.a.b", "user.user.a", "User.alice", "a.b"])
def test_no_other_name_with_a_dot_is_a_principal(name: str) -> None:
    assert not topics.is_principal(name)


def test_every_message_type_is_carried_by_exactly_one_channel() -> None:
    carried = [kind for row in TABLE.values() for kind in row.types]
    assert sorted(kind.__name__ for kind in carried) == sorted(kind.__name__ for kind in get_args(Message))
    assert topics.row_for(TokenChunk("p", 0, "")).channel is Channel.ANSWERS


def test_behind_a_channel_stands_what_the_table_says_no_more_and_no_less() -> None:
    for channel, row in TABLE.items():
        for levels in ((), ("p",), ("p", "c"), ("p", "c", "more")):
            topic = "/".join((OF_D, channel, *levels))
            if len(levels) == len(row.levels):
                assert topics.build("m", "d", channel, *levels) == topic
            else:
                assert topics.parse(topic) is None
                with pytest.raises(ValueError, match="topics end in"):
                    topics.build("m", "d", channel, *levels)


def test_a_topic_names_its_sender_wherever_more_than_one_may_write_but_to_clear() -> None:
    several = {row.channel for row in TABLE.values() if len(row.writers) > 1 or Role.PEERS in row.writers}
    several |= {row.channel for row in TABLE.values() if Role.USERS in row.writers}
    named = {row.channel for row in TABLE.values() if Level.SENDER in row.levels}
    assert named == several - {Channel.PRESENCE, Channel.STATUS}  # which the operator may clear, and nothing else
    assert TABLE[Channel.ANSWERS].levels == (Level.READER, Level.CLIENT)


@pytest.mark.parametrize(
    "topic",
    [
        f"{V2}/m/devices/other/answers/user.alice/c",
        f"{V2}/other/devices/d/answers/user.alice/c",
        f"{OF_D}/prompts/user.alice",
        f"{OF_D}/answers/user.alice",
        f"{OF_D}/answers/alice/c",
        f"{OF_D}/answers/user.bob/c",
        f"{OF_D}/answers/+/c",
        f"{OF_D}/answers/user.alice/+",
        f"{OF_D}/answers/user.alice/#",
        f"{OF_D}/answers/user.alice/c/e",
        f"{OF_D}/answers/user.alice/",
        "moamesh/v1/m/devices/d/answers/user.alice/c",
        "$SYS/broker",
        "",
    ],
)
def test_a_response_topic_outside_the_senders_own_answers_is_refused(topic: str) -> None:
    assert topics.client_at(topic, "m", "d", "user.alice") is None


def test_a_response_topic_inside_the_senders_own_answers_names_a_client() -> None:
    assert topics.client_at(f"{OF_D}/answers/user.alice/phone", "m", "d", "user.alice") == "phone"


def test_a_device_reads_its_own_inboxes_and_everyones_presence_and_nothing_else() -> None:
    assert topics.others_presence("m") == (f"{V2}/m/devices/+/presence", 1)
    assert topics.device_inboxes("m", "d") == (
        (f"{OF_D}/prompts/+", 1),
        (f"{OF_D}/proposals/+", 1),
        (f"{OF_D}/replies/+", 1),
        (f"{OF_D}/gossip/+", 0),
    )


def test_a_user_reads_answers_to_itself_alone() -> None:
    assert topics.user_subscriptions("m", "user.alice", "c") == (
        (f"{V2}/m/devices/+/answers/user.alice/c", 1),
        (f"{V2}/m/devices/+/presence", 1),
        (f"{V2}/m/devices/+/status", 0),
    )


def test_only_presence_and_status_are_retained_and_only_gossip_and_status_may_be_lost() -> None:
    assert {row.channel for row in TABLE.values() if row.retain} == {Channel.PRESENCE, Channel.STATUS}
    assert {row.channel for row in TABLE.values() if row.qos == 0} == {Channel.GOSSIP, Channel.STATUS}
    assert topics.row_for(_presence()).retain


def _presence() -> Presence:
    from edge_agent.core.messages import PeerEntry, PresenceState

    return Presence(PeerEntry("d", "", "m", "f", 1, 1, 0, None), PresenceState.ONLINE, 4, "1")
