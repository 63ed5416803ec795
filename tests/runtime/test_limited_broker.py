"""Whole devices at brokers that allow less than everything, and at one that two meshes share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, PromptOptions, PromptRefusal
from edge_agent.core.states import Outcome
from tests.support.brokers import MosquittoWith, mosquitto
from tests.support.hosts import MESH, Device, make_device, mesh_of, quick, until

__all__ = ["mosquitto"]
pytestmark = pytest.mark.broker

WIDE = quick(prompt_bytes_max=200_000)  # so that only the broker's limit counts


async def ask(client: MeshClient, text: str = "why?", **options: object) -> Answer | PromptRefusal:
    return await client.ask_to_end("d0", text, PromptOptions(**options), timeout_s=20.0)  # type: ignore[arg-type]  # by name


def suspected(devices: list[Device]) -> int:
    return sum(one.agent.counters.peers_suspected + one.agent.counters.receipts_timed_out for one in devices)


@pytest.mark.parametrize("setting", ["retain_available false", "max_qos 0", "max_keepalive 10"])
async def test_devices_find_each_other_and_answer_whatever_a_broker_leaves_out(setting: str, tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, setting) as broker,
        mesh_of(3, broker.url, tmp_path) as devices,
        MeshClient(broker.url, MESH) as client,
    ):
        assert await client.discover(), "also without a retained presence"
        answer = await ask(client, layers=2, fanout=2)
        assert isinstance(answer, Answer)
        assert answer.outcome is Outcome.ANSWERED
        assert [len(layer) for layer in answer.provenance.layers] == [3, 3]

        def told() -> list[str]:
            view = client.roster.get("d0")
            status = view.status if view is not None else None
            return [problem.detail for problem in status.problems] if status is not None else []

        if setting == "max_qos 0":
            await until(lambda: any("takes QoS 0 only" in line for line in told()), "a problem in the status")
        else:
            assert not told()
        assert suspected(devices) == 0


async def test_a_prompt_that_would_become_too_large_for_the_broker_is_refused_at_once(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 65536") as broker,
        mesh_of(3, broker.url, tmp_path, settings=WIDE) as devices,
        MeshClient(broker.url, MESH) as client,
    ):
        answer = await ask(client, "x" * 63_000, layers=2, fanout=2)  # references are cut to what is left
        assert isinstance(answer, Answer)
        assert answer.outcome is Outcome.ANSWERED
        assert answer.provenance.missing == ()
        assert answer.provenance.reference_bytes_cut > 0
        for size in (65_000, 65_400, 100_000):  # the first fits the broker as a prompt, but not as a request to a peer
            refusal = await ask(client, "x" * size)
            assert isinstance(refusal, PromptRefusal)
            assert refusal.reason == "too_large"
        assert suspected(devices) == 0
        assert all(one.transport.counters.connection_losses == 0 for one in devices)


async def test_two_meshes_with_devices_of_the_same_names_share_one_open_broker(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    devices = [make_device("d0", mosquitto.url, tmp_path / mesh, mesh=mesh) for mesh in ("a", "b")]
    running = [asyncio.create_task(one.host.run()) for one in devices]
    for one, task in zip(devices, running, strict=True):
        one.task = task
    try:
        await until(lambda: all(one.agent.is_connected for one in devices), "both are connected")
        for mesh in ("a", "b", "a", "b"):
            async with MeshClient(mosquitto.url, mesh) as client:
                assert [view.device_id for view in await client.discover()] == ["d0"]
                answer = await ask(client, layers=0)
                assert isinstance(answer, Answer)
                assert answer.outcome is Outcome.ANSWERED
        for one in devices:
            assert one.transport.counters.connection_losses == one.transport.counters.bad == 0
            assert len(one.agent.view) == 0, "nobody of the other mesh"
    finally:
        await asyncio.gather(*(one.stop() for one in devices))
