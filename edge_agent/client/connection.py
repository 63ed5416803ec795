"""The client's one connection to a broker: kept up with backoff and jitter, re-subscribed after each reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.mqtt import BrokerUrl, open_client
from edge_agent.client.access import Access
from edge_agent.client.conversation import ClientSettings

log = logging.getLogger(__name__)

IncomingMessage = aiomqtt.Message
HandleMessage = Callable[[IncomingMessage], None]
"""Takes one message; must not block or raise."""


class Connection:
    """A connection that heals itself.

    Args:
        home: the broker's addresses, one of which will do; each new try goes to the next one.
        identifier: the MQTT client id.
        on_message: called for every message.
        on_connect: called after each successful connection, when the subscriptions are in place.
    """

    def __init__(
        self,
        home: tuple[BrokerUrl, ...],
        access: Access,
        identifier: str,
        settings: ClientSettings,
        on_message: HandleMessage,
        on_connect: Callable[[], None],
    ) -> None:
        self._home = home
        self._access = access
        self._at = random.randrange(len(home))  # noqa: S311 - spreads users over nodes, guards nothing
        self._identifier = identifier
        self._settings = settings
        self._on_message = on_message
        self._on_connect = on_connect
        self._subscriptions: dict[str, int] = {}
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.connected = asyncio.Event()
        self.last_error = ""

    def start(self) -> None:
        """Begins connecting in the background."""
        self._task = asyncio.create_task(self._run(), name=f"mqtt-{self._identifier}")

    async def stop(self) -> None:
        """Disconnects and ends the background task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribes now if connected, and after every reconnect. Again for the same filter does nothing."""
        if topic_filter in self._subscriptions:
            return
        self._subscriptions[topic_filter] = qos
        if self._client is not None:
            with contextlib.suppress(aiomqtt.MqttError):  # the reconnect that follows subscribes
                await self._client.subscribe(topic_filter, qos)

    async def publish(
        self, topic: str, body: bytes, qos: int, response_topic: str, correlation: bytes, expires_in_s: float | None
    ) -> bool:
        """Publishes; returns whether the broker has taken it. False without a connection."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no annotation there
        properties.ResponseTopic = response_topic
        properties.CorrelationData = correlation
        if expires_in_s is not None:
            properties.MessageExpiryInterval = max(1, round(expires_in_s))
        if self._client is None:
            return False
        publishing = asyncio.ensure_future(self._client.publish(topic, body, qos, properties=properties))
        lost = asyncio.ensure_future(self._lost.wait())  # aiomqtt would wait for its whole timeout, 10 s
        try:
            await asyncio.wait({publishing, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                return False
            await publishing
        except aiomqtt.MqttError as error:
            self.last_error = str(error)
            return False
        finally:
            publishing.cancel()
            lost.cancel()
        return True

    async def _run(self) -> None:
        backoff_s = self._settings.backoff_min_s
        tried = 0
        while True:
            try:
                async with self._open() as client:
                    await self._subscribe_all(client)
                    backoff_s, tried = self._settings.backoff_min_s, 0
                    await self._read(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:  # the latter two: unusable certificate files
                self.last_error = str(error)
                log.debug("connection to %s: %s", self._home[self._at], error)
            self._at = (self._at + 1) % len(self._home)
            tried += 1
            # jitter: the clients of a broker that comes back must not come back at the same moment
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            if tried % len(self._home) == 0:  # longer with each round: one dead address must not hide a living one
                backoff_s = min(2 * backoff_s, self._settings.backoff_max_s)

    def _open(self) -> aiomqtt.Client:
        access = self._access
        return open_client(
            self._home[self._at],
            client_id=self._identifier,
            username=access.username,
            password=access.password,
            tls=access.tls,
            names=(access.broker_of,) if access.broker_of else (),
        )

    async def _subscribe_all(self, client: aiomqtt.Client) -> None:
        if self._subscriptions:
            await client.subscribe(list(self._subscriptions.items()))

    async def _read(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._lost.clear()
        self.connected.set()
        try:
            self._on_connect()
            async for message in client.messages:
                self._on_message(message)
        finally:
            self._client = None
            self._lost.set()
            self.connected.clear()
