"""What a device owes its users over a restart, a full disk and a broker that is away: real brokers, real files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.client import MeshClient
from edge_agent.core.effects import JournalAnswer, JournalPrompt
from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    DeviceStatus,
    Prompt,
    PromptOptions,
    PromptReceipt,
    Provenance,
    Role,
)
from edge_agent.core.states import Outcome
from edge_agent.wire import topics
from edge_agent.wire.codec import decode
from edge_agent.wire.topics import Channel
from tests.adapters.journals import Journal
from tests.adapters.mqtt_devices import user
from tests.support.brokers import mosquitto
from tests.support.hosts import MESH, make_device, quick, until
from tests.support.small_disk import small_disk

__all__ = ["mosquitto"]

ANSWERS = topics.build(MESH, "d0", Channel.ANSWERS, "user.alice", "phone")
ROUTE = ReplyRoute("user.alice", "phone")
PROMPT = Prompt("late", (ChatMessage(Role.USER, "why?"),), PromptOptions(layers=0))
FINISHED = Answer(
    "finished", "d0", Outcome.ANSWERED, "because", "", 1.0, Provenance("d0", 0, 0, (), None, (), (), (), 0, 0)
)


async def left_behind(folder: Path) -> None:
    """A journal with an answer that no broker took, and a prompt whose deadline has passed."""
    journal = Journal(folder / "d0.journal")
    await journal.open()
    await journal.write(JournalAnswer(FINISHED, ROUTE))
    await journal.write(JournalPrompt(PROMPT, ROUTE, 0.001, 0, 0))
    await journal.close()


async def undelivered(folder: Path) -> list[str]:
    journal = Journal(folder / "d0.journal")
    restored = await journal.open()
    await journal.close()
    assert restored.sessions == ()
    return [kept.answer.prompt_id for kept in restored.answers if not kept.delivered]


@pytest.mark.parametrize("broker_is", ["up", "away at first"])
async def test_what_is_owed_after_a_restart_is_delivered_after_the_connect_and_marked_only_then(
    mosquitto: EmbeddedBroker, tmp_path: Path, broker_is: str
) -> None:
    await left_behind(tmp_path)
    if broker_is != "up":
        await mosquitto.stop()
    device = make_device("d0", mosquitto.url, tmp_path)
    device.task = asyncio.create_task(device.host.run())
    try:
        if broker_is != "up":
            await until(lambda: device.transport.counters.connect_failures, "a failed connect")
            assert device.agent.outstanding()["ends to tell"] == 2
            await mosquitto.start()
        await until(lambda: device.agent.is_connected, "the connection")
        await until(lambda: not device.agent.outstanding()["ends to tell"], "the last word of the broker")
    finally:
        await device.stop()
    assert await undelivered(tmp_path) == []


async def test_a_user_who_listens_hears_each_owed_end_exactly_once(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    await left_behind(tmp_path)
    async with user(mosquitto.url, ANSWERS) as alice:
        for _ in range(2):  # the second start owes nothing any more
            device = make_device("d0", mosquitto.url, tmp_path)
            device.task = asyncio.create_task(device.host.run())
            agent = device.agent
            await until(lambda agent=agent: agent.is_connected, "the connection")
            await until(lambda agent=agent: not agent.outstanding()["ends to tell"], "the last word of the broker")
            await device.stop()
        await until(lambda: len(alice.got) >= 2, "both ends")
        told = [decode(message.payload) for message in alice.got]
    assert sorted((answer.prompt_id, answer.outcome) for answer in told) == [
        ("finished", Outcome.ANSWERED),
        ("late", Outcome.EXPIRED),
    ]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB."""
    with small_disk(tmp_path / "card", kib=1024) as folder:
        yield folder


@pytest.mark.parametrize("when", ["before it starts", "while it runs"])
async def test_a_device_on_a_full_disk_serves_says_so_and_comes_back_by_itself(
    mosquitto: EmbeddedBroker, tmp_path: Path, card: Path, when: str
) -> None:
    ballast = card / "ballast"
    if when == "before it starts":
        ballast.write_bytes(b"x" * (1024 * 1024 - 4096))
    device = make_device("d0", mosquitto.url, card, telemetry=None)
    statuses: list[DeviceStatus] = []
    device.task = asyncio.create_task(device.host.run())
    try:
        async with MeshClient(mosquitto.url, MESH) as client:
            await client.start_watching(
                lambda message, _: isinstance(message, DeviceStatus) and statuses.append(message)
            )
            await until(lambda: device.agent.is_connected, "the connection")
            if when == "while it runs":
                receipts = await receipts_of(client)
                assert receipts == [True]
                with ballast.open("wb", buffering=0) as file:
                    for size in (4096, 1):
                        try:
                            while True:
                                file.write(b"x" * size)
                        except OSError:
                            continue
            assert await receipts_of(client) == [False]
            await until(lambda: statuses and not statuses[-1].durable, "a status that says so")
            (problem,) = [problem for problem in statuses[-1].problems if problem.part == "journal"]
            assert "a restart would lose accepted prompts" in problem.detail
            ballast.unlink()
            await until(lambda: statuses[-1].durable, "room is found by itself")
            assert await receipts_of(client) == [True]
    finally:
        await device.stop()


async def receipts_of(client: MeshClient) -> list[bool]:
    """Asks a prompt too large for what is left on a full card; returns what its receipts say of durability."""
    seen = [message async for message in client.ask("d0", "why? " * 2_000, PromptOptions(layers=0))]
    assert isinstance(seen[-1], Answer)
    assert seen[-1].outcome is Outcome.ANSWERED
    return [message.durable for message in seen if isinstance(message, PromptReceipt)]


async def test_a_clean_stop_notes_what_was_delivered_until_the_very_end(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    device = make_device("d0", mosquitto.url, tmp_path, settings=quick(), service="deterministic:0.05")
    device.task = asyncio.create_task(device.host.run())
    async with MeshClient(mosquitto.url, MESH) as client:
        await until(lambda: device.agent.is_connected, "the connection")
        ended = await client.ask_to_end("d0", "why?", PromptOptions(layers=0), timeout_s=30.0)
        assert isinstance(ended, Answer)
        await device.stop()  # at once: the broker's word on the answer may not have come yet
    assert await undelivered(tmp_path) == []


async def test_nine_honest_responses_of_32_kib_cross_a_real_broker(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    # half a second for 2 MB of requests would judge the machine
    settings = quick(receipt_timeout_s=60.0, receipt_timeout_min_s=60.0)
    devices = [make_device(f"d{n}", mosquitto.url, tmp_path, settings=settings) for n in range(9)]
    for device in devices:
        infer = device.engine.infer

        async def long_winded(request, on_text, infer=infer):
            return replace(await infer(request, None), text='"\n' * 16_384)

        device.engine.infer = long_winded
        device.task = asyncio.create_task(device.host.run())
    try:
        await until(lambda: all(len(device.agent.view) == 8 for device in devices), "all know each other")
        async with MeshClient(mosquitto.url, MESH) as client:
            ended = await client.ask_to_end("d0", "why?", PromptOptions(layers=2, fanout=8), timeout_s=100.0)
        assert isinstance(ended, Answer)
        assert ended.outcome is Outcome.ANSWERED
        assert ended.provenance.missing == ()
        assert ended.provenance.reference_bytes_cut > 0
        assert sum(device.agent.counters.peers_suspected for device in devices) == 0
    finally:
        await asyncio.gather(*(device.stop() for device in devices))
