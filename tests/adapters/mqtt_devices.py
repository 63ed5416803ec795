"""Devices and users for transport tests: a transport with its events recorded, and a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.core import messages as m
from edge_agent.core.events import ConnectionChanged, Event, HealthChanged
from edge_agent.mqtt import Link, open_client
from edge_agent.wire import topics
from edge_agent.wire.topics import Channel
from tests.support.patience import PATIENCE_S

T = TypeVar("T")


def entry(device_id: str) -> m.PeerEntry:
    return m.PeerEntry(device_id, "", "model", "family", 1, 1, 0, None)


def presence(device_id: str, state: m.PresenceState) -> m.Presence:
    return m.Presence(entry(device_id), state, 32, "1")


def request(number: int = 0, text: str = "What is a dog?", origin: str = "a") -> m.ProposalRequest:
    turn = m.ChatMessage(m.Role.USER, text)
    return m.ProposalRequest(f"r{number}", origin, "", 1, (turn,), (), m.Sampling(), 30.0)


async def until(condition: Callable[[], T], what: str) -> T:
    """Polls until `condition` is true and returns its value."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not (value := condition()):  # noqa: ASYNC110 - waits for many unlike things, none an asyncio.Event
                await asyncio.sleep(0.005)
            return value
    raise AssertionError(f"did not come: {what}")


class Device:
    """A transport whose events are kept, those about its health apart.

    While `gate` is clear, `emit` waits, as a busy runtime does.
    """

    def __init__(self, device_id: str, url: str, mesh: str = "test", **settings: Any) -> None:
        self.device_id = device_id
        self.events: list[Event] = []
        self.health: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.transport = MqttTransport(MqttSettings(device_id, mesh, url, **{"backoff_max_s": 0.2, **settings}))

    async def emit(self, event: Event) -> None:
        if isinstance(event, HealthChanged):
            self.health.append(event.detail)
            return
        await self.gate.wait()
        self.events.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def arrival(self, kind: type[T], count: int = 1) -> T:
        """Waits for the `count`-th event of a kind."""
        await until(lambda: len(self.of(kind)) >= count, f"{kind.__name__} {count}; have {self.events}")
        return self.of(kind)[count - 1]

    @property
    def link(self) -> Link:
        """The live connection to the home broker."""
        home = self.transport._home
        assert home is not None
        assert home._link is not None
        return home._link

    def cut(self) -> None:
        """Breaks the connection without a word, as a dying device or network does."""
        sock = self.link._paho.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)

    async def connection(self, connected: bool, count: int = 1) -> None:
        def changes() -> int:
            return sum(one.connected is connected for one in self.of(ConnectionChanged))

        await until(lambda: changes() >= count, f"connected={connected}; have {self.events}")


@contextlib.asynccontextmanager
async def device(device_id: str, url: str, *, connected: bool = True, **settings: Any) -> AsyncIterator[Device]:
    """A device, stopped in the end; `connected` waits for its home broker first."""
    one = Device(device_id, url, **settings)
    await one.transport.start(one.emit, presence(device_id, m.PresenceState.OFFLINE))
    try:
        if connected:
            await one.connection(True)
        yield one
    finally:
        one.gate.set()
        await one.transport.stop()


class User:
    """A plain MQTT 5 client that keeps what it gets."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.got: list[aiomqtt.Message] = []

    async def read(self) -> None:
        async for message in self.client.messages:
            self.got.append(message)

    async def arrival(self, count: int = 1) -> aiomqtt.Message:
        await until(lambda: len(self.got) >= count, f"message {count}; have {self.got}")
        return self.got[count - 1]

    async def prompt(self, body: bytes, *, to: str = "a", **properties: Any) -> None:
        """Publishes to a device's prompts; see `publish`."""
        await self.publish(topics.build("test", to, Channel.PROMPTS, topics.ANYBODY), body, **properties)

    async def publish(
        self,
        topic: str,
        body: bytes,
        *,
        response: str | None = None,
        correlation: bytes | None = None,
        qos: int = 1,
        retain: bool = False,
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if response is not None:
            properties.ResponseTopic = response
        if correlation is not None:
            properties.CorrelationData = correlation
        await self.client.publish(topic, body, qos=qos, retain=retain, properties=properties)


@contextlib.asynccontextmanager
async def user(url: str, *filters: str) -> AsyncIterator[User]:
    """A user subscribed to `filters`."""
    async with open_client(url, client_id=f"user-{secrets.token_hex(4)}") as client:
        one = User(client)
        for topic in filters:
            await client.subscribe(topic, qos=1)
        reading = asyncio.create_task(one.read())
        try:
            yield one
        finally:
            reading.cancel()
            await asyncio.wait([reading])
