"""Whose a prompt is, on a real mosquitto that knows its users: nobody asks, cancels or listens as somebody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.client import MeshClient
from edge_agent.client.incoming import read
from edge_agent.core.messages import Answer, DeviceToUser, Message, Outcome, PromptReceipt, PromptRefusal
from edge_agent.mqtt import open_client
from edge_agent.wire import topics
from edge_agent.wire.codec import decode
from edge_agent.wire.topics import Channel
from tests.runtime.kitchen import ALONE, kitchen_of, user
from tests.support.hosts import MESH, mesh_of
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker


async def test_nobody_asks_cancels_or_listens_as_somebody_else(tmp_path: Path) -> None:
    async with (
        kitchen_of(tmp_path) as (mesh, url, _),
        user(mesh, url, "alice") as alice,
        user(mesh, url, "bob") as bob,
        user(mesh, url, "bob", principal="user.alice") as liar,
    ):
        for client in (alice, bob, liar):
            assert [view.device_id for view in await client.discover(PATIENCE_S)] == ["kitchen"]
        said: list[DeviceToUser] = []
        asking = asyncio.create_task(
            alice.ask_to_end("kitchen", "why?", ALONE, prompt_id="p1", on_message=said.append, timeout_s=PATIENCE_S)
        )
        await until(lambda: any(isinstance(one, PromptReceipt) for one in said), "alice's receipt")
        refused = await _cancelled_by(bob)
        assert isinstance(refused, PromptRefusal)
        await liar.cancel("kitchen", "p1")  # the broker acknowledges it with a refusal, and drops it
        ended = await asking
        assert isinstance(ended, Answer)
        assert ended.outcome is Outcome.ANSWERED
        assert liar.dropped == 0, "and shows nothing of what alice is told"
        own = await bob.ask_to_end("kitchen", "and mine?", ALONE, prompt_id="p1", timeout_s=PATIENCE_S)
        assert isinstance(own, Answer)
        assert "and mine?" not in ended.text


async def test_where_the_broker_lets_everybody_in_a_name_is_only_a_claim_and_everybody_reads(tmp_path: Path) -> None:
    """What an open mesh does not protect (docs/SECURITY.md)."""
    read_by_all: list[Message] = []
    async with (
        EmbeddedBroker() as mosquitto,
        mesh_of(1, mosquitto.url, tmp_path, service="deterministic:600"),
        MeshClient(mosquitto.url, MESH, "phone", principal="user.alice") as alice,
        MeshClient(mosquitto.url, MESH, "phone", principal="user.alice") as whoever,
        open_client(mosquitto.url, client_id="ear") as ear,
    ):
        await ear.subscribe(f"{topics.build(MESH, 'd0', Channel.ANSWERS, 'user.alice', 'phone')}", qos=1)
        said: list[DeviceToUser] = []
        asking = asyncio.create_task(
            alice.ask_to_end("d0", "why?", ALONE, prompt_id="p1", on_message=said.append, timeout_s=PATIENCE_S)
        )
        await until(lambda: any(isinstance(one, PromptReceipt) for one in said), "alice's receipt")
        await whoever.cancel("d0", "p1")
        ended = await asking
        assert isinstance(ended, Answer)
        assert ended.outcome is Outcome.CANCELLED
        async with asyncio.timeout(PATIENCE_S):
            async for message in ear.messages:
                read_by_all.append(decode(bytes(message.payload)))  # type: ignore[arg-type]  # bytes, by aiomqtt's default
                if isinstance(read_by_all[-1], Answer):
                    break


async def _cancelled_by(client: MeshClient) -> DeviceToUser:
    """Has a user cancel the prompt p1, which is another's; returns what the device says to that."""
    heard: list[DeviceToUser] = []
    listening = client._on_message

    def keep(incoming: object) -> None:
        received = read("home", str(incoming.topic), incoming.payload)  # type: ignore[attr-defined]  # a message of MQTT
        if received is not None and isinstance(received.message, PromptRefusal):
            heard.append(received.message)
        listening(incoming)  # type: ignore[arg-type]  # the same

    client._connection._on_message = keep
    assert await client.cancel("kitchen", "p1")
    await until(lambda: bool(heard), "the refusal of the cancel")
    return heard[0]
