"""Announcements for others than the mesh, kept at real brokers by a device's own connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import Announcement, announcements
from edge_agent.core.messages import PresenceState
from edge_agent.mqtt import TlsFiles, open_client
from edge_agent.wire.topics import Channel, build, topic_filter
from tests.adapters.mqtt_devices import Device, presence, until, user
from tests.support.ejabberd import running_cluster
from tests.support.patience import PATIENCE_S
from tests.support.secured import SecuredMesh


@pytest.mark.broker
async def test_an_announcement_is_kept_over_reconnects_and_sent_again_after_a_random_while_when_asked_for(
    mosquitto: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "REPEAT_DELAY_MAX_S", 0.2)
    delivered: list[str] = []
    one = Announcement("x/config", b"hello", "x/status", b"online", lambda: delivered.append("x"))
    async with user(mosquitto.url, "x/config") as reader:
        device = Device("a", mosquitto.url)
        device.transport.advertise([one])
        await device.transport.start(device.emit, presence("a", PresenceState.OFFLINE))
        try:
            assert (await reader.arrival(1)).payload == b"hello"
            await device.connection(True)
            device.cut()
            await reader.arrival(2)
            await reader.client.publish("x/status", b"offline", 1)
            await reader.client.publish("x/status", b"online", 1, retain=True)
            await reader.arrival(3)
            device.cut()  # the retained "online" that comes with the next connection asks for nothing
            await reader.arrival(4)
            await reader.client.publish("x/status", b"online", 1)
            await reader.client.publish("x/status", b"online", 1)
            await reader.arrival(5)
            await until(lambda: len(delivered) == 5, "each was taken by the broker")
            assert device.transport.counters.bad == 0
        finally:
            await device.transport.stop()
    async with user(mosquitto.url, "x/config") as late:
        kept = await late.arrival(1)
        assert (kept.payload, kept.retain) == (b"hello", True)


@pytest.mark.broker
async def test_a_broker_that_refuses_the_subscription_does_not_keep_the_device_from_its_mesh(
    tmp_path: Path,
) -> None:
    mesh = SecuredMesh(tmp_path)
    alice = mesh.user(
        "alice"
    )  # and no login for Home Assistant: ejabberd refuses what mosquitto grants and leaves empty
    (tmp_path / "cluster").mkdir()
    async with running_cluster(mesh, tmp_path / "cluster", nodes=1) as cluster:
        credentials = mesh.device("kitchen")
        device = Device(
            "kitchen",
            cluster.urls[0],
            mesh="home",
            username="kitchen",
            tls=TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key)),
        )
        device.transport.advertise([Announcement("x/config", b"hello", "x/status", b"online")])
        await device.transport.start(device.emit, presence("kitchen", PresenceState.OFFLINE))
        client = open_client(
            f"mqtts://{cluster.password_endpoint(0).host}:{cluster.password_port}",
            client_id="alice",
            username=alice.username,
            password=alice.password,
            tls=TlsFiles(str(mesh.ca)),
        )
        try:
            await device.connection(True)
            async with client:
                await client.subscribe(topic_filter("home", "+", Channel.PRESENCE), qos=1)
                device.transport.publish_presence(presence("kitchen", PresenceState.ONLINE))
                async with asyncio.timeout(PATIENCE_S):
                    said = await anext(aiter(client.messages))
                assert str(said.topic) == build("home", "kitchen", Channel.PRESENCE)
            assert device.transport.counters.connection_losses == 0
        finally:
            await device.transport.stop()
