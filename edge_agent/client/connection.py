"""The client's one connection to a broker: kept up with backoff and jitter, re-subscribed after each reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Mapping

from edge_agent.client.access import Access
from edge_agent.client.conversation import ClientSettings
from edge_agent.mqtt import (
    BROKEN,
    WILDCARDS_NOT_SUPPORTED,
    BrokerLimits,
    BrokerUrl,
    Incoming,
    Link,
    Pace,
    Tries,
    explain,
    of_code,
    open_client,
)
from edge_agent.tasks import Pauses, TaskSupervisor

log = logging.getLogger(__name__)

JITTER_FROM = 0.5  # of a pause: the clients of a broker that comes back must not come back at the same moment
HandleMessage = Callable[[Incoming], None]
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
        self._identifier = identifier
        self._settings = settings
        self._on_message = on_message
        self._on_connect = on_connect
        self._subscriptions: dict[str, int] = {}
        self._link: Link | None = None
        self._tasks = TaskSupervisor(
            f"mqtt {identifier}", pauses=Pauses(settings.backoff_min_s, settings.backoff_max_s)
        )
        pace = Pace(settings.backoff_min_s, settings.backoff_max_s, settings.refused_backoff_max_s, JITTER_FROM)
        self._tries = Tries(home, pace, random.Random())  # noqa: S311 - spreads users and load, guards nothing
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
        if self._link is not None:
            with contextlib.suppress(*BROKEN):  # the next connect subscribes again, and says what is wrong
                await self._subscribe(self._link, {topic_filter: qos})

    def can_read(self, topic_filter: str) -> bool:
        """Whether what comes on this filter is heard, as far as the broker has said."""
        return topic_filter not in self.refused_filters

    def room(self, topic: str, response_topic: str, correlation: bytes) -> float:
        """How large a body the broker takes with these beside it."""
        return self.limits.body_bytes_max(topic, len(response_topic.encode()) + len(correlation))

    async def publish(
        self, topic: str, body: bytes, qos: int, response_topic: str, correlation: bytes, expires_in_s: float | None
    ) -> bool:
        """Publishes; returns whether the broker has taken it. False without a connection."""
        link = self._link
        if link is None:
            return False
        try:
            await link.deliver(
                topic,
                body,
                qos=qos,
                response_topic=response_topic,
                correlation=correlation,
                expires_in_s=None if expires_in_s is None else round(expires_in_s),
            )
        except BROKEN as error:
            if link.lost_by is None:  # else `_run` says why
                self.last_error = str(error)
            return False
        return True

    async def _run(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        refusals, since = 0, loop.time()
        async for url in self._tries:
            try:
                async with self._new_link(url) as link:
                    self.limits = link.limits
                    await self._subscribe(link, self._subscriptions)
                    self._tries.well()
                    refusals = 0
                    self.refused.clear()
                    await self._read(link)
            except BROKEN as error:
                trouble = explain(error, self._access.tls)
                self.last_error = trouble.detail
                refusals = refusals + 1 if trouble.lasting else 0
                since = since if refusals > 1 else loop.time()
                if refusals >= len(self._home) and loop.time() - since >= settings.refused_after_s:
                    self.refused.set()
                log.debug("connection to %s: %s", url, trouble.detail)
            self._tries.slow = refusals > 0

    def _new_link(self, url: BrokerUrl) -> Link:
        access = self._access
        return Link(
            open_client(
                url,
                client_id=self._identifier,
                username=access.username,
                password=access.password,
                tls=access.tls,
                device=access.broker_of,
            )
        )

    async def _subscribe(self, link: Link, filters: Mapping[str, int]) -> None:
        """Subscribes to what the broker allows, and notes what it refuses: users may be let in to some devices only."""
        refused = await link.subscribe(list(filters.items()))
        for topic in filters:
            self.refused_filters.pop(topic, None)
        for topic, code in refused:
            self.refused_filters[topic] = of_code(code).detail
            if code != WILDCARDS_NOT_SUPPORTED:  # then exact filters are read instead
                log.info("subscription to %s refused: %s", topic, self.refused_filters[topic])

    async def _read(self, link: Link) -> None:
        self._link = link
        self.connected_at = time.monotonic()
        self.connected.set()
        try:
            self._on_connect()
            while True:
                message = await link.receive()
                self._on_message(message)
        finally:
            self._link = None
            self.connected.clear()
