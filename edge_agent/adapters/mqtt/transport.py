"""The transport of a device: its home broker, and the home brokers of the devices it talks to."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import OrderedDict
from collections.abc import Callable

import aiomqtt

from edge_agent.adapters.mqtt.client import BrokerUrl, parse_url
from edge_agent.adapters.mqtt.connection import Connection, Inbox
from edge_agent.adapters.mqtt.link import Incoming
from edge_agent.adapters.mqtt.outbox import Outgoing, Priority
from edge_agent.adapters.mqtt.reader import Reader
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings
from edge_agent.core.events import BadInputReceived, ConnectionChanged, ReplyRoute
from edge_agent.core.messages import (
    DeviceStatus,
    DeviceToUser,
    LayerProgress,
    Message,
    PeerMessage,
    Presence,
    TokenChunk,
    ViewExchange,
)
from edge_agent.ports import EmitEvent
from edge_agent.wire import topics
from edge_agent.wire.codec import encode


class MqttTransport:
    """`ports.Transport` over MQTT 5. Make it anywhere; use it in one event loop, from `start` to `stop`."""

    def __init__(self, settings: MqttSettings, rng: random.Random | None = None) -> None:
        self.counters = Counters()
        self._settings = settings
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects in time; nobody gains by guessing it
        self._reader = Reader(settings.mesh, settings.device_id, settings.body_bytes_max)
        self._home_url = parse_url(settings.home_url)
        self._home_urls = {self._home_url, *map(parse_url, settings.home_aliases)}
        self._home: Connection | None = None
        self._away: OrderedDict[BrokerUrl, Connection] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._emit: EmitEvent | None = None

    @property
    def connected(self) -> bool:
        """Whether the home broker is connected."""
        return self._home is not None and self._home.connected

    async def start(self, emit: EmitEvent, last_will: Presence) -> None:
        """Begins connecting in the background, and keeps reconnecting, until `stop`.

        `emit` gets one event at a time from the home broker; a message is acknowledged to the broker after `emit`
        returned for it, and nothing more is read while it waits (beyond a small bound).
        """
        self._emit = emit
        will = self._presence(last_will)
        settings = self._settings
        self._home = Connection(
            settings.home_url,
            settings,
            self.counters,
            self._rng,
            client_id=settings.device_id,
            own=True,
            inbox=Inbox(
                topics.device_subscriptions(settings.mesh, settings.device_id), self._take, self._connection_changed
            ),
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
        )
        self._home.start()

    def send_to_device(
        self, device_id: str, home_broker: str, message: PeerMessage, expires_in_s: float | None
    ) -> None:
        """Queues a message for another device's inbox at its home broker; "" is our own."""
        if not topics.is_id(device_id):
            self.counters.dropped += 1  # ids from peers are checked when read; this one is from elsewhere
            return
        connection = self._connection_for(home_broker)
        if connection is None:
            self.counters.bad_homes += 1
            return
        priority = Priority.BACKGROUND if isinstance(message, ViewExchange) else Priority.PEERS
        item = self._outgoing(device_id, message, priority)
        if expires_in_s is not None:
            item.expires_at = asyncio.get_running_loop().time() + expires_in_s
        connection.send(item)

    def send_to_user(
        self, reply: ReplyRoute, message: DeviceToUser, on_delivered: Callable[[], None] | None = None
    ) -> None:
        """Queues a message for a user; `on_delivered` is called once the home broker has taken it."""
        if self._home is None or not topics.is_own_answer(reply.topic, self._settings.mesh, self._settings.device_id):
            self.counters.dropped += 1
            return
        passing = isinstance(message, TokenChunk | LayerProgress)
        self._home.send(
            Outgoing(
                reply.topic,
                encode(message, reply.body_id),
                topics.row_for(message).qos,
                topics.row_for(message).retain,
                Priority.PROGRESS if passing else Priority.USERS,
                correlation=bytes.fromhex(reply.correlation),
                on_delivered=on_delivered,
            )
        )

    def publish_presence(self, presence: Presence) -> None:
        """Publishes this device's retained presence, now and again after every reconnect."""
        if self._home is not None:
            self._home.greet(self._presence(presence))

    def publish_status(self, status: DeviceStatus) -> None:
        """Publishes this device's retained live figures, if it is connected."""
        if self._home is not None:
            self._home.send(self._outgoing(self._settings.device_id, status, Priority.BACKGROUND))

    async def stop(self) -> None:
        """Sends what is queued, within `flush_s`, then disconnects cleanly so that no last will fires."""
        open_now = [*self._away.values(), *([self._home] if self._home is not None else [])]
        self._away.clear()
        await asyncio.gather(*(connection.stop(self._settings.flush_s) for connection in open_now), *self._closing)
        self._home = None

    # --- in ---------------------------------------------------------------------------------------------------------

    async def _take(self, incoming: Incoming) -> None:
        event = self._reader.read(incoming)
        if event is None or self._emit is None:
            return
        self.counters.bad += isinstance(event, BadInputReceived)
        await self._emit(event)

    async def _connection_changed(self, connected: bool) -> None:
        if self._emit is not None:
            await self._emit(ConnectionChanged(connected))

    # --- out --------------------------------------------------------------------------------------------------------

    def _presence(self, presence: Presence) -> Outgoing:
        return self._outgoing(self._settings.device_id, presence, Priority.USERS)

    def _outgoing(self, device_id: str, message: Message, priority: Priority) -> Outgoing:
        row = topics.row_for(message)
        topic = topics.build(self._settings.mesh, device_id, row.channel)
        return Outgoing(topic, encode(message), row.qos, row.retain, priority)

    def _connection_for(self, home_broker: str) -> Connection | None:
        """Returns the connection to a home broker, a new one if need be; `None` if its URL is unusable."""
        if not home_broker:
            return self._home
        try:
            url = parse_url(home_broker)
        except ValueError:
            return None
        if url in self._home_urls:
            return self._home
        if self._home_url.tls and not url.tls:
            return None  # a mesh that encrypts does not send prompts in clear because a peer says so
        if url in self._away:
            self._away.move_to_end(url)
            return self._away[url]
        return self._open_away(url)

    def _open_away(self, url: BrokerUrl) -> Connection | None:
        if self._home is None or len(self._closing) >= self._settings.away_max:
            return None  # someone names new brokers faster than old ones can be left
        if len(self._away) >= self._settings.away_max:
            _, oldest = self._away.popitem(last=False)
            self.counters.away_evicted += 1
            task = asyncio.create_task(oldest.stop(self._settings.flush_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        # A name of its own: should two URLs mean one broker, the second must not take over the first one's session.
        client_id = f"{self._settings.device_id}-{secrets.token_hex(4)}"
        connection = Connection(str(url), self._settings, self.counters, self._rng, client_id=client_id)
        connection.start()
        self._away[url] = connection
        return connection
