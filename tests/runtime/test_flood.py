"""Floods on a real mosquitto: what is over its sender's rate is not read, its sender is told, and others are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.mqtt.rate_limiter import RateLimiter
from edge_agent.client import MeshClient
from edge_agent.core import messages as m
from edge_agent.core.effects import StartInference
from edge_agent.mqtt import Incoming, open_client
from edge_agent.ports import InferenceResult
from edge_agent.wire import topics
from edge_agent.wire.codec import decode, encode
from edge_agent.wire.topics import Channel
from tests.support.hosts import MESH, mesh_of, quick
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker

BURST = 40
SENT = 400
ALONE = m.PromptOptions(layers=0)
MESSAGES = (m.ChatMessage(m.Role.USER, "again"),)


def guarded(settings: MqttSettings) -> MqttTransport:
    return MqttTransport(replace(settings, message_rate_hz=0.01, message_burst=BURST))


def body_of(principal: str, number: int) -> bytes:
    if topics.is_id(principal):
        request = m.ProposalRequest(f"r{number}", principal, "", 1, MESSAGES, (), m.Sampling(), expires_in_s=600.0)
        return encode(request)
    return encode(m.Prompt(f"p{number}", MESSAGES, ALONE))


@pytest.mark.parametrize("principal", ["user.flood", "pantry"], ids=["user", "device"])
async def test_a_flood_is_not_read_beyond_its_rate_its_sender_is_told_and_others_are_served(
    principal: str, tmp_path: Path
) -> None:
    is_device = topics.is_id(principal)
    told_on = (
        topics.build(MESH, principal, Channel.REPLIES, "d0")
        if is_device
        else topics.build(MESH, "d0", Channel.ANSWERS, principal, "0")
    )
    sent_on = topics.written_by(principal, MESH, "d0", Channel.PROPOSALS if is_device else Channel.PROMPTS)
    heard: list[m.Message] = []

    async def listen() -> None:
        async for message in flooder.messages:
            one = decode(bytes(message.payload))
            heard.append(one)

    options = {"settings": quick(queue_capacity=8), "make_transport": guarded}
    async with (
        EmbeddedBroker() as mosquitto,
        mesh_of(1, mosquitto.url, tmp_path, **options) as (device,),
        open_client(mosquitto.url, client_id="flooder") as flooder,
        MeshClient(mosquitto.url, MESH) as alice,
    ):
        await flooder.subscribe(told_on, qos=1)
        listening = asyncio.create_task(listen())
        before = device.transport.counters.received
        for number in range(SENT):
            await flooder.publish(sent_on, body_of(principal, number), qos=1)
        await until(lambda: device.transport.counters.received >= before + SENT, "all of it has come")
        answer = await alice.ask_to_end("d0", "and me?", ALONE, timeout_s=PATIENCE_S)
        assert isinstance(answer, m.Answer)
        assert answer.outcome is m.Outcome.ANSWERED
        assert device.transport.counters.over_rate == SENT - BURST
        assert 1 <= device.agent.counters.over_rate < SENT / 4, "to tell is bounded, too"
        await until(lambda: any(is_told(message) for message in heard), "the flooder is told")
        listening.cancel()


@pytest.mark.parametrize("kind", [m.AnswersQuery("q1", "p1"), m.Prompt("p1", MESSAGES, ALONE), m.PromptCancel("p1")])
def test_what_is_over_its_rate_is_refused_by_its_own_id(kind: m.Message) -> None:
    limiter = RateLimiter(MESH, "d0", rate_hz=0.01, burst=1)
    on = topics.build(MESH, "d0", Channel.PROMPTS, "user.flood")
    incoming = Incoming(on, encode(kind), 1, False, 1, "", b"")
    assert limiter.over_rate(incoming, 0.0) is None
    address = limiter.over_rate(incoming, 0.0)
    assert address is not None
    word = limiter.word(address, incoming, 0.0)
    assert word is not None
    assert word.message_id == ("q1" if isinstance(kind, m.AnswersQuery) else "p1")


async def test_who_comes_after_a_flood_is_served_before_all_but_a_few_of_it(tmp_path: Path) -> None:
    served: list[str] = []
    async with (
        EmbeddedBroker() as mosquitto,
        mesh_of(1, mosquitto.url, tmp_path, settings=quick(queue_capacity=32), service="deterministic:0.3") as (
            device,
        ),
        MeshClient(mosquitto.url, MESH, principal="user.flood") as flooder,
        MeshClient(mosquitto.url, MESH, principal="user.alice") as alice,
    ):
        infer = device.engine.infer

        async def noted(request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
            served.append(request.messages[-1].content)
            return await infer(request, on_text)

        device.engine.infer = noted  # type: ignore[method-assign]  # to see the order of service
        flood = [asyncio.create_task(flooder.ask_to_end("d0", "again", ALONE, prompt_id=f"f{n}")) for n in range(60)]
        await until(lambda: sum(one.done() for one in flood) >= 30, "those beyond what one may have")
        asked = asyncio.create_task(alice.ask_to_end("d0", "and me?", ALONE, timeout_s=PATIENCE_S))
        waiting = device.agent.queue.waiting
        await until(lambda: any(item.holder == "user.alice/" for item in waiting.values()), "hers is in line")
        before, behind = len(served), len(waiting)
        answer = await asked
        assert isinstance(answer, m.Answer)
        assert answer.outcome is m.Outcome.ANSWERED
        assert behind > 10, "there was a flood to pass"
        assert served.index("and me?") - before <= 1, "at most one of the flood had its turn first"
        for number, one in enumerate(flood):
            if not one.done():
                await flooder.cancel("d0", f"f{number}")
        ends = await asyncio.gather(*flood)
        refused = [end for end in ends if isinstance(end, m.PromptRefusal)]
        assert len(refused) >= 30
        assert all("your share" in end.detail and end.retry_after_s for end in refused), "and it is told"


def is_told(message: m.Message) -> bool:
    if isinstance(message, m.PromptRefusal):
        return "messages a second" in message.detail
    return isinstance(message, m.RequestReceipt) and message.busy is m.BusyReason.OVER_RATE
