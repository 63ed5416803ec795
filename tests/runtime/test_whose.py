"""Whose a prompt is, on a real mosquitto that knows its users: nobody asks, cancels or listens as somebody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.adapters.mqtt import TlsFiles
from edge_agent.client import Access, ClientSettings, MeshClient
from edge_agent.client.incoming import read
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.messages import Answer, DeviceToUser, Outcome, PromptOptions, PromptReceipt, PromptRefusal
from edge_agent.fleet.device_process import DeviceProcess
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.secured import HOST, SecuredMesh

pytestmark = pytest.mark.broker

SERVICE_S = 3.0  # long enough that a cancel comes while it runs, however it ends
PATIENT = ClientSettings(connect_timeout_s=PATIENCE_S, sends_max=1)
ALONE = PromptOptions(layers=0)


@contextlib.asynccontextmanager
async def kitchen_of(folder: Path) -> AsyncIterator[tuple[SecuredMesh, str]]:
    """A device with a broker that knows its users; yields the mesh, and where users come in."""
    mesh = SecuredMesh(folder)
    badge = mesh.device("kitchen")
    mesh.user("alice")
    mesh.user("bob")
    files = mesh.broker_files(folder / "broker")
    listeners = files.config.listeners
    broker = BrokerSection(
        urls=(f"mqtts://{HOST}:{listeners.devices}",),
        ca_file=mesh.ca,
        crl_file=mesh.crl,
        cert_file=badge.certificate,
        key_file=badge.key,
    )
    device = DeviceSection(id="kitchen", mesh="home", data_dir=folder / "data")
    engine = EngineSection(kind="synthetic", service=f"deterministic:{SERVICE_S}")
    write_config(AgentConfig(device=device, broker=broker, engine=engine), folder / "agent.toml")
    kitchen = DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")
    async with MosquittoBroker(files, lambda: mesh.people):
        await kitchen.start()
        try:
            yield mesh, f"mqtts://{HOST}:{listeners.passwords}"
        finally:
            await kitchen.stop()


def user(mesh: SecuredMesh, url: str, name: str, *, principal: str | None = None) -> MeshClient:
    access = Access(f"user.{name}", f"secret of {name}", TlsFiles(str(mesh.ca)))
    return MeshClient(url, "home", access=access, principal=principal, settings=PATIENT)


async def test_nobody_asks_cancels_or_listens_as_somebody_else(tmp_path: Path) -> None:
    async with (
        kitchen_of(tmp_path) as (mesh, url),
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
