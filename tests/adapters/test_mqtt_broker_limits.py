"""Brokers that allow less than everything: what they say in their CONNACK is kept to, and what cannot be is said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt.shrinking import shrink
from edge_agent.core import messages as m
from edge_agent.core.events import BadInputReceived, PeerMessageReceived, PromptReceived, ReplyRoute, SendFailed
from edge_agent.core.states import ItemOutcome, Outcome
from edge_agent.mqtt import BrokerLimits
from edge_agent.wire import topics
from edge_agent.wire.codec import BODY_BYTES_MAX, decode, encode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import device, entry, presence, request, until, user
from tests.support.brokers import MosquittoWith, SayingBroker, connack

pytestmark = pytest.mark.broker

ANSWERS = topics.build("test", "a", Channel.ANSWERS, "me", "c1")
PRESENCE = topics.build("test", "a", Channel.PRESENCE)
PROMPT = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))
CONTRIBUTION = m.Contribution("a", "model", 0.0, 0.1, 3, 4)
PROVENANCE = m.Provenance("a", 1, 1, ((CONTRIBUTION,) * 3,), CONTRIBUTION, (), (), (), 2, 2)


def answer(text: str, **changes: object) -> m.Answer:
    fields: dict[str, object] = {"outcome": Outcome.ANSWERED, "detail": "", "provenance": PROVENANCE}
    return m.Answer("p1", "a", text=text, end_to_end_latency_s=1.0, **(fields | changes))  # type: ignore[arg-type]  # by name


LIMITED = {
    "retain_available false": "",
    "max_qos 0": "takes QoS 0 only",
    "max_qos 1": "",
    "max_keepalive 10": "",
    "allow_zero_length_clientid false": "",
    "max_inflight_messages 1": "",
    "max_packet_size 4096": "",
    "max_topic_alias 0": "",
}
"""Settings of mosquitto, and what is to be said of each; "" where nothing is worse for it."""


@pytest.mark.parametrize("setting", [*LIMITED, "all of them"])
async def test_devices_and_users_reach_each_other_whatever_a_broker_leaves_out(setting: str, tmp_path: Path) -> None:
    settings = list(LIMITED) if setting == "all of them" else [setting]
    settings = [one for one in settings if one != "max_qos 1" or setting == one]
    wanted = next((words for one, words in LIMITED.items() if words and one in settings), "")
    async with (
        MosquittoWith(tmp_path, *settings) as broker,
        device("a", broker.url) as a,
        device("b", broker.url) as b,
        user(broker.url, ANSWERS, PRESENCE) as asker,
    ):
        a.transport.publish_presence(presence("a", m.PresenceState.ONLINE))
        await until(lambda: presence("a", m.PresenceState.ONLINE) in _messages(b), "a's presence")
        for number in range(20):
            a.transport.send_to_device("b", "", request(number), 30.0)
        await until(lambda: len([one for one in _messages(b) if isinstance(one, m.ProposalRequest)]) >= 20, "requests")
        await asker.prompt(encode(PROMPT), response=ANSWERS, qos=0 if "max_qos 0" in settings else 1)
        event = await a.arrival(PromptReceived)
        delivered: list[bool] = []
        a.transport.send_to_user(event.reply, answer("A dog."), delivered.append)
        await until(lambda: delivered and len(asker.got) >= 2, "the answer")
        a.cut()
        offline = presence("a", m.PresenceState.OFFLINE)
        await until(lambda: offline in [decode(message.payload) for message in asker.got], "the last will")
        await a.connection(True, 2)
        assert a.transport.counters.connection_losses == 1, "only the one that was cut"
        assert a.transport.counters.refused == 0
        await until(
            lambda: (wanted in (a.health or [""])[-1]) and bool(wanted) == bool((a.health or [""])[-1]), "health"
        )


def _messages(one: object) -> list[m.Message]:
    return [event.message for event in one.of(PeerMessageReceived)]  # type: ignore[attr-defined]  # a `Device`


async def test_what_a_broker_says_of_itself_is_read_off_its_connack(tmp_path: Path) -> None:
    settings = ("retain_available false", "max_qos 1", "max_keepalive 10", "max_packet_size 65536")
    async with MosquittoWith(tmp_path, *settings) as broker, device("a", broker.url) as a:
        assert a.link.limits == BrokerLimits(65_536, 20, 1, retain=False, keepalive_s=10)
        assert a.link._paho._keepalive == 10, "it would hang up after 15 s, which is our own interval"
        assert len(list(a.link.limits.notes(BODY_BYTES_MAX))) == 3
    assert BrokerLimits.of(None) == BrokerLimits(math.inf, math.inf, 2)


async def test_what_hinders_nobody_is_a_line_and_no_problem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with MosquittoWith(tmp_path, "retain_available false") as broker, device("a", broker.url) as a:
        a.cut()
        await a.connection(True, 2)
        lines = [one for one in caplog.messages if "keeps no retained messages" in one]
        assert len(lines) == 1


# --- messages that do not fit ---------------------------------------------------------------------------------------


async def test_a_request_that_the_broker_would_not_take_comes_back_at_once(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 65536") as broker,
        device("a", broker.url) as a,
        device("b", broker.url) as b,
    ):
        a.transport.send_to_device("b", "", request(1, "x" * 65_500), 30.0)
        failed = await a.arrival(SendFailed)
        assert (failed.device_id, failed.message_id) == ("b", "r1")
        assert "takes packets of 65,536" in failed.detail
        a.transport.send_to_device("b", "", request(2, "x" * 65_000), 30.0)
        assert await b.arrival(PeerMessageReceived) == PeerMessageReceived(request(2, "x" * 65_000))
        assert a.transport.counters.connection_losses == b.transport.counters.connection_losses == 0


async def test_a_request_that_no_device_would_read_comes_back_also_without_a_connection(
    mosquitto: EmbeddedBroker,
) -> None:
    async with device("a", mosquitto.url) as a:
        await mosquitto.kill()
        await a.connection(False)
        a.transport.send_to_device("b", "", request(1, "x" * BODY_BYTES_MAX), 30.0)
        assert f"a message may have {BODY_BYTES_MAX:,}" in (await a.arrival(SendFailed)).detail


async def test_the_limit_that_counts_is_that_of_the_broker_the_message_goes_to(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 20000") as narrow,
        device("a", mosquitto.url) as a,
        device("b", narrow.url) as b,
    ):
        a.transport.send_to_device("b", narrow.url, request(1, "x" * 30_000), 30.0)
        a.transport.send_to_device("b", narrow.url, request(2, "x" * 10_000), 30.0)
        assert (await a.arrival(SendFailed)).message_id == "r1"
        assert (await b.arrival(PeerMessageReceived)).message == request(2, "x" * 10_000)


async def test_a_broker_that_hangs_up_without_having_named_a_limit_teaches_it() -> None:
    too_large = bytes([0xE0, 2, 149, 0])
    async with (
        SayingBroker(connack(0), then=too_large) as broker,
        device("a", "mqtt://127.0.0.1:1", connected=False) as a,
    ):
        a.transport.send_to_device("b", broker.url, request(1, "x" * 10_000), 30.0)
        failed = await a.arrival(SendFailed)
        assert failed.message_id == "r1"
        assert "bytes are too many" in failed.detail
        assert broker.connects <= 3, "it is not tried again and again"


async def test_what_the_broker_forbids_to_write_comes_back_too(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite moamesh/v2/test/devices/+/presence\ntopic read #\n")
    rules.chmod(0o600)
    async with MosquittoWith(tmp_path, f"acl_file {rules}") as broker, device("a", broker.url) as a:
        a.transport.send_to_device("b", "", request(1), 30.0)
        assert "not authorized (reason 135)" in (await a.arrival(SendFailed)).detail
        await until(lambda: a.health and "refused a message to" in a.health[-1], "a problem")


async def test_an_answer_too_large_for_the_broker_is_cut_and_says_so(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 4096") as broker,
        device("a", broker.url) as a,
        user(broker.url, ANSWERS) as asker,
    ):
        delivered: list[bool] = []
        a.transport.send_to_user(ReplyRoute("me", "c1"), answer("wörd " * 2_000), delivered.append)
        got = decode((await asker.arrival()).payload)
        assert isinstance(got, m.Answer)
        assert got.text
        assert ("wörd " * 2_000).startswith(got.text)
        assert "cut: the broker takes messages of at most" in got.detail
        assert got.provenance == PROVENANCE
        await until(lambda: delivered, "its delivery")


@pytest.mark.parametrize("text", ["plain " * 3_000, '\x01\n"\\' * 3_000, "ü" * 9_000, "🐕" * 4_000])
@pytest.mark.parametrize("bytes_max", [600, 900, 1_500, 4_000, 16_000])
def test_an_answer_in_fewer_words_fits_and_tells_as_much_as_fits(text: str, bytes_max: int) -> None:
    body = shrink(answer(text, detail="x"), bytes_max, "an id of 3.1.1")
    assert body is not None
    assert len(body) <= bytes_max
    got = decode(body)
    assert isinstance(got, m.Answer)
    assert text.startswith(got.text)
    assert got.detail.endswith(f"cut: the broker takes messages of at most {bytes_max:,} bytes")
    assert (got.outcome is Outcome.ANSWERED) == bool(got.text)
    if got.text and got.provenance == PROVENANCE:
        assert len(body) > bytes_max - 16, "nothing is cut that would fit"


def test_a_response_is_cut_or_fails_in_words_and_gossip_names_fewer() -> None:
    response = m.ProposalResponse("r1", ItemOutcome.COMPLETED, "x" * 9_000, "", CONTRIBUTION)
    got = decode(shrink(response, 2_000) or b"")
    assert isinstance(got, m.ProposalResponse)
    assert len(got.text) > 1_500
    assert "cut" in got.detail
    failed = decode(next(body for size in range(100, 2_000) if (body := shrink(response, size))))  # the smallest one
    assert isinstance(failed, m.ProposalResponse)
    assert failed.outcome is ItemOutcome.FAILED
    assert not failed.text
    exchange = m.ViewExchange(tuple(entry(f"d{number}") for number in range(16)), True)
    fewer = decode(shrink(exchange, 1_000) or b"")
    assert isinstance(fewer, m.ViewExchange)
    assert fewer.entries == exchange.entries[: len(fewer.entries)]
    assert len(fewer.entries) >= 4
    assert shrink(request(1, "x" * 9_000), 2_000) is None


async def test_a_prompt_as_large_as_the_broker_takes_is_read(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 65536") as broker,
        device("a", broker.url) as a,
        user(broker.url) as asker,
    ):
        long = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "x" * 65_000),))
        await asker.prompt(encode(long), response=ANSWERS)
        assert (await a.arrival(PromptReceived)).prompt == long
        assert not a.of(BadInputReceived)
