"""What a device says of a broker that refuses it, throws it out or is gone: once, with the reason and the way out."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import aiomqtt
import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.mqtt.troubles import Troubles
from edge_agent.core import messages as m
from edge_agent.core.events import ConnectionChanged, PromptReceived, ReplyRoute
from edge_agent.mqtt import BrokerLimits, explain, of_code
from edge_agent.wire import topics
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel
from tests.adapters.mqtt_devices import Device, device, presence, until, user
from tests.support.brokers import MosquittoWith, SayingBroker, connack
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

QUICK = {"backoff_min_s": 0.01, "backoff_max_s": 0.02, "refused_backoff_max_s": 0.05}


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in log.records if one.levelname == "WARNING" and one.name.startswith("edge_agent")]


class Drawn(random.Random):
    """Keeps the longest pause that could have been drawn, and draws none."""

    def __init__(self) -> None:
        super().__init__(1)
        self.longest: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.longest.append(b)
        return 0.0


REFUSALS = {
    132: ("it does not speak MQTT 5", True),
    133: ("client id not valid", True),
    134: ("bad user name or password", True),
    135: ("not authorized", True),
    136: ("server unavailable", False),
    137: ("server busy", False),
    138: ("banned", True),
    140: ("bad authentication method", True),
    149: ("packet too large", False),
    151: ("quota exceeded", False),
    156: ("use another server", True),
    157: ("server moved", True),
    159: ("connection rate exceeded", False),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refusal_is_said_once_with_its_reason_however_often_it_is_tried(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    words, lasting = REFUSALS[code]
    async with SayingBroker(connack(code)) as broker, device("a", broker.url, connected=False, **QUICK) as a:
        await until(lambda: broker.connects >= 5, "five tries")
        assert len(warnings(caplog)) == len(a.health) == 1, caplog.messages
        assert words in warnings(caplog)[0]
        assert f"(reason {code})" in a.health[0]
        assert broker.url in a.health[0]
        assert not a.events
        assert of_code(code).lasting is lasting


@pytest.mark.parametrize(("code", "most_s"), [(134, 60.0), (137, 10.0)])
async def test_what_only_somebody_can_mend_is_tried_again_slowly(code: int, most_s: float) -> None:
    async with SayingBroker(connack(code)) as broker:
        rng = Drawn()
        transport = MqttTransport(MqttSettings("a", "test", broker.url), rng)
        one = Device("a", broker.url)
        await transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await until(lambda: len(rng.longest) >= 12, "a dozen tries")
        await transport.stop()
        assert rng.longest[:3] == [0.2, 0.4, 0.8]
        assert max(rng.longest) == most_s


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection before its CONNACK"),  # mosquitto with max_connections reached
        (b"\x20\x02\x00\x01", "MQTT 5"),  # a broker that speaks 3.1.1 only
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another port"),
    ],
)
async def test_who_is_no_broker_of_ours_is_said_in_words(
    answer: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with SayingBroker(answer) as broker, device("a", broker.url, connected=False, **QUICK) as a:
        await until(lambda: broker.connects >= 3, "three tries")
        assert len(warnings(caplog)) == 1, caplog.messages
        assert words in a.health[0]


async def test_a_full_broker_is_named_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with MosquittoWith(tmp_path, "max_connections 1") as broker, contextlib.AsyncExitStack() as others:
        refused = 0
        while refused < 3:  # mosquitto 2.0 lets in one or two more than it says
            try:
                await others.enter_async_context(user(broker.url))
            except aiomqtt.MqttError:
                refused += 1
        a = await others.enter_async_context(device("a", broker.url, connected=False, **QUICK))
        await until(lambda: a.transport.counters.connect_failures >= 3, "three tries")
        assert "max_connections" in a.health[0]
        assert len(warnings(caplog)) == 1


async def test_a_device_that_is_let_in_again_is_well_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with (
        MosquittoWith(tmp_path, "allow_anonymous false") as broker,
        device("a", broker.url, connected=False, username="x", password="y", **QUICK) as a,
    ):
        await until(lambda: a.transport.counters.connect_failures >= 3, "refusals")
        assert "not authorized (reason 135)" in a.health[-1]
        await broker.stop()
        await broker.start("allow_anonymous true")
        await a.connection(True)
        await until(lambda: a.health[-1] == "", "health")
        assert len([one for one in caplog.messages if "connected again" in one]) == 1


async def test_a_broker_that_restarts_is_one_line_out_and_one_back(
    mosquitto: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with device("a", mosquitto.url, **QUICK) as a:
        await mosquitto.kill()
        await until(lambda: a.transport.counters.connect_failures >= 5, "tries")
        assert len(warnings(caplog)) == 2, "it broke, and now nobody listens"
        await mosquitto.start()
        await a.connection(True, 2)
        await until(lambda: a.health[-1] == "", "health")
        assert len([one for one in caplog.messages if "connected again" in one]) == 1


async def test_an_inbox_that_may_not_be_read_is_a_lasting_trouble(caplog: pytest.LogCaptureFixture) -> None:
    refused = bytes([0x90, 8, 0, 1, 0, *[135] * 5])
    async with (
        SayingBroker(connack(0), then=refused, hang_up=False) as broker,
        device("a", broker.url, connected=False, **QUICK) as a,
    ):
        await until(lambda: broker.connects >= 3, "tries")
        assert "prompts/+ refused: not authorized (reason 135)" in a.health[0]
        assert len(a.health) == len(warnings(caplog)) == 1
        assert not a.events


async def test_a_device_does_without_the_others_presence_where_it_may_not_read_it() -> None:
    granted = bytes([0x90, 8, 0, 1, 0, 1, 1, 1, 0, 135])
    async with (
        SayingBroker(connack(0), then=granted, hang_up=False) as broker,
        device("a", broker.url) as a,
    ):
        await until(lambda: a.health, "a problem")
        assert "+/presence refused: not authorized (reason 135)" in a.health[0]


async def test_a_broker_without_wildcards_is_a_lasting_trouble_with_the_way_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        SayingBroker(connack(0, b"\x28\x00"), hang_up=False) as broker,
        device("a", broker.url, connected=False, **QUICK) as a,
    ):
        await until(lambda: broker.connects >= 3, "tries")
        assert "wildcard subscriptions not supported (reason 162): devices need them" in a.health[0]
        assert len(a.health) == len(warnings(caplog)) == 1


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_a_session_that_is_taken_over_is_told_once_and_taken_back_slowly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken_over = bytes([0xE0, 2, 142, 0])
    async with SayingBroker(connack(0), then=taken_over) as broker:
        rng = Drawn()
        transport = MqttTransport(MqttSettings("a", "test", broker.url), rng)
        one = Device("a", broker.url)
        await transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await until(lambda: len(rng.longest) >= 12, "a dozen")
        await transport.stop()
        assert "another client took this session over (reason 142): a copy of this device runs" in one.health[0]
        assert len(warnings(caplog)) == len(one.health) == 1
        assert max(rng.longest) == 60.0


async def test_a_clone_is_named_once_on_each_side_also_by_a_broker_that_says_nothing(
    mosquitto: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"install": "card", "backoff_min_s": 0.01, "backoff_max_s": 0.3}
    async with (
        device("a", mosquitto.url, **settings) as card,
        device("a", mosquitto.url, connected=False, **settings) as clone,
    ):
        for one in (card, clone):
            await until(lambda one=one: "a cloned card" in (one.health or [""])[-1], "the word")  # type: ignore[misc]  # bound now
        losses = card.transport.counters.connection_losses
        await until(lambda: card.transport.counters.connection_losses >= losses + 4, "more of the same")
        for one in (card, clone):
            assert "a cloned card" in one.health[-1], "it is let in each time, and that is not the end of it"
        assert len([line for line in warnings(caplog) if "a cloned card" in line]) == 2, "one of each"


def test_what_comes_again_is_over_only_once_a_connection_has_held_long_enough() -> None:
    told: list[str] = []
    troubles = Troubles(lambda: "b", told.append, steady_s=5.0, refused_steady_s=600.0)
    troubles.failed(of_code(137), steady=False)
    assert (troubles.lasting, troubles.steady_s) == (False, 5.0)
    troubles.connected(BrokerLimits(), ())
    assert told[1:] == [""], "who was busy and lets us in is well"
    troubles.failed(of_code(142), steady=False)
    troubles.connected(BrokerLimits(), ())
    troubles.failed(of_code(142), steady=False)
    assert (troubles.lasting, troubles.steady_s, len(told)) == (True, 600.0, 3)
    troubles.connected(BrokerLimits(), ())
    troubles.steady()
    assert (troubles.lasting, troubles.steady_s, told[-1]) == (False, 5.0, "")
    troubles.failed(of_code(135), steady=False)
    troubles.connected(BrokerLimits(qos_max=0), [("x/#", "may not be read")])
    assert told[-1].startswith("broker b: takes QoS 0 only")
    troubles.settle("limits")
    assert told[-1] == "broker b: may not be read"


async def test_devices_of_one_name_in_two_meshes_share_a_broker(mosquitto: EmbeddedBroker) -> None:
    ours, theirs = (topics.build(mesh, "d1", Channel.PROMPTS, "me") for mesh in ("a", "b"))
    prompt = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))
    async with (
        device("d1", mosquitto.url, mesh="a") as one,
        device("d1", mosquitto.url, mesh="b") as other,
        user(mosquitto.url) as asker,
    ):
        for topic, mesh in ((ours, "a"), (theirs, "b")):
            answers = topics.build(mesh, "d1", Channel.ANSWERS, "me", "c1")
            await asker.publish(topic, encode(prompt), response=answers)
        for each in (one, other):
            event = await each.arrival(PromptReceived)
            assert event.reply == ReplyRoute("me", "c1")
            assert each.events.count(ConnectionChanged(False)) == 0
            assert len(each.of(PromptReceived)) == 1
            assert each.transport.counters.bad == 0


def test_no_two_installations_take_the_same_session() -> None:
    ids = {
        MqttSettings(name, mesh, "mqtt://x", install=install).client_id
        for name in ("a", "b", "a-b")
        for mesh in ("a", "b", "a-b")
        for install in ("1", "2")
    }
    assert len(ids) == 18
    one, two = (MqttSettings("a", "m", "mqtt://x").client_id for _ in range(2))
    assert one != two


def test_a_reason_without_a_code_is_put_into_words() -> None:
    assert (
        "set this machine's clock" in explain(OSError("certificate verify failed: certificate is not yet valid")).detail
    )
    assert "there is no host with that name" in explain(OSError("[Errno -2] Name or service not known")).detail
    assert explain(ValueError("ca.pem: no certificate in it")).lasting
    assert not explain(OSError("[Errno 111] Connection refused")).lasting
    assert explain(TimeoutError()).detail == "TimeoutError"


async def test_trying_again_ends_when_the_device_is_stopped() -> None:
    async with SayingBroker(connack(134)) as broker:
        one = Device("a", broker.url, backoff_min_s=3600.0, backoff_max_s=3600.0, refused_backoff_max_s=3600.0)
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await until(lambda: one.health, "the refusal")
        async with asyncio.timeout(PATIENCE_S):
            await one.transport.stop()
