"""Three-state birth and last will, as any MQTT client sees them: a real device, a real broker, a plain subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.mqtt import open_client
from edge_agent.wire.topics import Channel, build
from tests.client.conftest import LocalBroker, own_broker
from tests.support.polling import until

__all__ = ["own_broker"]
pytestmark = pytest.mark.broker
TOPIC = build("home", "kitchen", Channel.PRESENCE)


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[list[tuple[str, bool]]]:
    """A plain subscriber of one topic; what it has seen so far, as (state, whether it was retained)."""
    seen: list[tuple[str, bool]] = []

    async def read() -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            seen.append((json.loads(message.payload)["state"], bool(message.retain)))

    async with open_client(url, client_id="plain") as client:
        await client.subscribe(TOPIC, qos=1)
        reading = asyncio.create_task(read())
        try:
            yield seen
        finally:
            reading.cancel()
            await asyncio.wait([reading])


def kitchen(url: str, folder: Path) -> DeviceProcess:
    config = AgentConfig(
        device=DeviceSection(id="kitchen", mesh="home", data_dir=folder / "data"),
        broker=BrokerSection(urls=(url,)),
        engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
    )
    write_config(config, folder / "agent.toml")
    return DeviceProcess("kitchen", folder / "agent.toml", folder / "agent.log")


async def test_a_plain_subscriber_sees_birth_farewell_death_and_a_broker_that_forgot(
    own_broker: LocalBroker, tmp_path: Path
) -> None:
    device = kitchen(own_broker.url, tmp_path)
    try:
        async with watching(own_broker.url) as seen:
            await device.start()
            await until(lambda: seen[-1:] == [("online", False)], f"its birth: {seen}")
            await device.stop()
            await until(lambda: seen[-1:] == [("stopped", False)], f"its farewell: {seen}")
            assert {state for state, _ in seen} == {"online", "stopped"}  # a clean stop fires no will

            await device.start()
            await until(lambda: seen[-1:] == [("online", False)], f"its second birth: {seen}")
            await device.kill()
            await until(lambda: seen[-1:] == [("offline", False)], f"the broker's word: {seen}")
            await device.wait()
        async with watching(own_broker.url) as late:
            await until(lambda: late == [("offline", True)], f"what is kept for those who come later: {late}")

        await device.start()
        async with watching(own_broker.url) as seen:
            await until(lambda: seen[-1:] in ([("online", False)], [("online", True)]), f"its third birth: {seen}")
        own_broker.stop()  # it keeps nothing on disk: with it goes every retained message
        own_broker.start()
        await own_broker.until_up()
        async with watching(own_broker.url) as after:
            await until(lambda: bool(after) and after[-1][0] == "online", f"told again by itself: {after}")
        assert device.pid is not None
    finally:
        await device.stop()
    async with watching(own_broker.url) as end:
        await until(lambda: end == [("stopped", True)], f"and its last word: {end}")
