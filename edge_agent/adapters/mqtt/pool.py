"""Connections to other devices' home brokers: one for each in use, bounded, least recently used out.

Only homes that have shown who they are have a place here; the others wait in a room of their own (`unproven`).
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict

from edge_agent.adapters.mqtt.connection import Connection
from edge_agent.adapters.mqtt.outbox import Outgoing
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.unproven import Home, Unproven
from edge_agent.mqtt import parse_home

PROVEN_KEPT_MAX = 256  # homes that were proven once: after they had to give way they are dialled at once
ANYBODY = ""
"""In the place of a device: of a home that serves everybody at its host."""


class AwayPool:
    """Opens connections as they are needed and leaves them when there are too many."""

    def __init__(self, settings: MqttSettings, counters: MqttCounters, rng: random.Random) -> None:
        self._settings = settings
        self._counters = counters
        self._rng = rng
        self._open: OrderedDict[tuple[Home, str], Connection] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._proven: OrderedDict[tuple[Home, str], None] = OrderedDict()
        self._named = frozenset((parse_home(home), device_id) for device_id, home in settings.seeds)
        self.unproven = Unproven(settings, counters, rng, self._on_proven)

    @property
    def homes(self) -> list[Home]:
        """The homes that have a connection, least recently used first."""
        return [home for home, _ in self._open]

    @property
    def closing(self) -> int:
        """Connections being left."""
        return len(self._closing)

    def send(self, home: Home, device_id: str, item: Outgoing, *, first_hand: bool) -> bool:
        """Queues a message for a device at its home. `first_hand`: the device itself said that it is there.

        Returns False if it is dropped: connections are wanted faster than old ones can be left.
        """
        for key, open_ in self._open.items():
            if key[0] == home and open_.serves(device_id):
                self._open.move_to_end(key)
                open_.send(item)
                return True
        if not self._is_proven(home, device_id):
            self.unproven.put(home, device_id, item, first_hand=first_hand)
            return True
        connection = self._dial(home, device_id)
        if connection is not None:
            connection.send(item)
        return connection is not None

    def renew(self) -> None:
        """Leaves every broker and comes back, with the certificate files as they are now."""
        for connection in self._open.values():
            connection.renew()
        self.unproven.retry()

    async def stop(self) -> None:
        """Sends what is queued, within `flush_s`, and disconnects everywhere."""
        await self.unproven.stop()
        connections = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(connection.stop(self._settings.flush_s) for connection in connections), *self._closing)

    def _is_proven(self, home: Home, device_id: str) -> bool:
        """Whether a home has shown who it is, or the settings name it as this very device's."""
        if (home, device_id) in self._named:
            return True
        for key in ((home, device_id), (home, ANYBODY)):
            if key in self._proven:
                self._proven.move_to_end(key)
                return True
        return False

    def _on_proven(self, home: Home, device_id: str, for_all: bool, items: list[Outgoing]) -> None:
        self._proven[home, ANYBODY if for_all else device_id] = None
        while len(self._proven) > PROVEN_KEPT_MAX:
            self._proven.popitem(last=False)
        if not for_all:
            self._leave_former(home, device_id)
        for item in items:
            if not self.send(home, device_id, item, first_hand=True):
                self._counters.bad_homes += 1

    def _leave_former(self, home: Home, device_id: str) -> None:
        """A device has one home: whoever says to have moved, truly or not, has one place here."""
        for key in [key for key in self._open if key[1] == device_id and key[0] != home]:
            if not self._open[key].serves_many:
                self._leave(self._open.pop(key))
                self._proven.pop(key, None)

    def _dial(self, home: Home, device_id: str) -> Connection | None:
        if len(self._closing) >= self._settings.away_max:
            return None
        if len(self._open) >= self._settings.away_max:
            self._leave(self._open.popitem(last=False)[1])
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
