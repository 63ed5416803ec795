"""Connections to other devices' home brokers: one for each in use, bounded, least recently used out."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict

from edge_agent.adapters.mqtt.client import BrokerUrl
from edge_agent.adapters.mqtt.connection import Connection
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings


class AwayPool:
    """Opens connections as they are needed and leaves them when there are too many."""

    def __init__(self, settings: MqttSettings, counters: Counters, rng: random.Random) -> None:
        self._settings = settings
        self._counters = counters
        self._rng = rng
        self._open: OrderedDict[tuple[tuple[BrokerUrl, ...], str], Connection] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def homes(self) -> list[tuple[BrokerUrl, ...]]:
        """The homes that have a connection, least recently used first."""
        return [home for home, _ in self._open]

    @property
    def closing(self) -> int:
        """Connections being left."""
        return len(self._closing)

    def find(self, home: tuple[BrokerUrl, ...], device_id: str) -> Connection | None:
        """Returns a connection for messages to a device at its home, a new one if need be.

        `None` if new brokers are named faster than old ones can be left.
        """
        for key, connection in self._open.items():
            if key[0] == home and connection.serves(device_id):
                self._open.move_to_end(key)
                return connection
        if len(self._closing) >= self._settings.away_max:
            return None
        if len(self._open) >= self._settings.away_max:
            self._leave(self._open.popitem(last=False)[1])
        return self._dial(home, device_id)

    def renew(self) -> None:
        """Leaves every broker and comes back, with the certificate files as they are now."""
        for connection in self._open.values():
            connection.renew()

    async def stop(self) -> None:
        """Sends what is queued, within `flush_s`, and disconnects everywhere."""
        connections = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(connection.stop(self._settings.flush_s) for connection in connections), *self._closing)

    def _dial(self, home: tuple[BrokerUrl, ...], device_id: str) -> Connection:
        # A name of its own: should two URLs mean one broker, the second must not take over the first one's session, and
        # a strange broker must not learn what this device is called at home.
        client_id = self._settings.passing_client_id()
        connection = Connection(home, self._settings, self._counters, self._rng, client_id=client_id, owner=device_id)
        connection.start()
        self._open[home, device_id] = connection
        return connection

    def _leave(self, connection: Connection) -> None:
        self._counters.away_evicted += 1
        task = asyncio.create_task(connection.stop(self._settings.flush_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
