"""The client's one connection to a broker: kept up with backoff and jitter, re-subscribed after each reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Mapping

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.adapters.mqtt import (
    BrokerLimits,
    BrokerUrl,
    code_of,
    explain,
    of_code,
    open_client,
    unless_lost,
)
from edge_agent.client.access import Access
from edge_agent.client.conversation import ClientSettings
from edge_agent.tasks import Keeper, OvertakenError, Pauses, unless

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
        self._tasks = Keeper(f"mqtt {identifier}", pauses=Pauses(settings.backoff_min_s, settings.backoff_max_s))
        self._lost = asyncio.Event()
        self.connected = asyncio.Event()
        self.refused = asyncio.Event()
        """Set while every address has refused us for good, longer than a broker takes to hear of a new user."""
        self.connected_at = -math.inf
        """When the connection that stands, or the last one, came about (`time.monotonic`)."""
        self.last_error = ""
        self.refused_filters: dict[str, str] = {}
        """What this user may not read, and why, as of the last connect."""
        self.limits = BrokerLimits()
        """What the broker takes, as of the last connect."""

    def start(self) -> None:
        """Begins connecting in the background."""
        self._tasks.keep("connection", self._run)

    async def stop(self) -> None:
        """Disconnects and ends the background task."""
        await self._tasks.stop()

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribes now if connected, and after every reconnect. Again for the same filter does nothing."""
        if topic_filter in self._subscriptions:
            return
        self._subscriptions[topic_filter] = qos
        if self._client is not None:
            with contextlib.suppress(aiomqtt.MqttError):  # the next connect subscribes again, and says what is wrong
                await self._subscribe(self._client, {topic_filter: qos})

    def can_read(self, topic_filter: str) -> bool:
        """Whether what comes on this filter is heard, as far as the broker has said."""
        return topic_filter not in self.refused_filters and (self.limits.wildcards or not _is_wild(topic_filter))

    def room(self, topic: str, response_topic: str, correlation: bytes) -> float:
        """How large a body the broker takes with these beside it."""
        return self.limits.body_bytes_max(topic, len(response_topic.encode()) + len(correlation))

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
        qos = min(qos, self.limits.qos_max)
        try:  # aiomqtt would wait for its whole timeout, 10 s
            await unless(self._client.publish(topic, body, qos, properties=properties), self._lost.wait())
        except OvertakenError:
            return False
        except aiomqtt.MqttError as error:
            self.last_error = str(error)
            return False
        return True

    async def _run(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        backoff_s = settings.backoff_min_s
        tried, refusals, since = 0, 0, loop.time()
        while True:
            try:
                async with self._open() as client:
                    await self._subscribe(client, self._subscriptions)
                    backoff_s, tried, refusals = settings.backoff_min_s, 0, 0
                    self.refused.clear()
                    await self._read(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:  # the latter two: unusable certificate files
                trouble = explain(error, self._access.tls)
                self.last_error = trouble.detail
                refusals = refusals + 1 if trouble.lasting else 0
                since = since if refusals > 1 else loop.time()
                if refusals >= len(self._home) and loop.time() - since >= settings.refused_after_s:
                    self.refused.set()
                log.debug("connection to %s: %s", self._home[self._at], trouble.detail)
            self._at = (self._at + 1) % len(self._home)
            tried += 1
            # jitter: the clients of a broker that comes back must not come back at the same moment
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            if tried % len(self._home) == 0:  # longer with each round: one dead address must not hide a living one
                most_s = settings.refused_backoff_max_s if refusals else settings.backoff_max_s
                backoff_s = min(2 * backoff_s, most_s)

    def _open(self) -> aiomqtt.Client:
        access = self._access
        return open_client(
            self._home[self._at],
            client_id=self._identifier,
            username=access.username,
            password=access.password,
            tls=access.tls,
            device=access.broker_of,
            on_limits=self._note_limits,
        )

    def _note_limits(self, limits: BrokerLimits) -> None:
        self.limits = limits

    async def _subscribe(self, client: aiomqtt.Client, filters: Mapping[str, int]) -> None:
        """Subscribes to what the broker allows, and notes what it refuses: users may be let in to some devices only."""
        allowed = [(topic, qos) for topic, qos in filters.items() if self.limits.wildcards or not _is_wild(topic)]
        if not allowed:
            return
        codes = await unless_lost(client, client.subscribe(allowed))
        for (topic, _), code in zip(allowed, codes, strict=True):
            self.refused_filters.pop(topic, None)
            if code_of(code):
                self.refused_filters[topic] = of_code(code_of(code)).detail
                log.info("subscription to %s refused: %s", topic, self.refused_filters[topic])

    async def _read(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._lost.clear()
        self.connected_at = time.monotonic()
        self.connected.set()
        try:
            self._on_connect()
            async for message in client.messages:
                self._on_message(message)
        finally:
            self._client = None
            self._lost.set()
            self.connected.clear()


def _is_wild(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter
