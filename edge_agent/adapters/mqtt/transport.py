"""The transport of a device: its home broker, and the home brokers of the devices it talks to."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from edge_agent.adapters.mqtt.announcements import Announcement, Announcements
from edge_agent.adapters.mqtt.bad_input import BadInputLog
from edge_agent.adapters.mqtt.connection import Connection, Inbox
from edge_agent.adapters.mqtt.entries import PlainEntries, SignedEntries
from edge_agent.adapters.mqtt.notices import Notices
from edge_agent.adapters.mqtt.outbox import Outgoing, Priority
from edge_agent.adapters.mqtt.pool import AwayPool
from edge_agent.adapters.mqtt.rate_limiter import RateLimiter
from edge_agent.adapters.mqtt.raw import RawInbox, TakeRaw, check_watchable
from edge_agent.adapters.mqtt.reader import Reader
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.shrinking import shrink
from edge_agent.core.events import (
    BadInputReceived,
    ConnectionChanged,
    HealthChanged,
    PeerMessageReceived,
    ReplyRoute,
    SendFailed,
)
from edge_agent.core.health import Part
from edge_agent.core.messages import (
    AnswersPage,
    BetweenTransports,
    DeviceStatus,
    DeviceToUser,
    LayerProgress,
    Message,
    PeerMessage,
    Presence,
    PresenceState,
    ProposalRequest,
    TokenChunk,
    ViewExchange,
)
from edge_agent.mqtt import BrokerLimits, Incoming, Will, parse_home
from edge_agent.ports import EmitEvent, Notary
from edge_agent.wire import topics
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel

_log = logging.getLogger(__name__)

TOLD_HOMES_MAX = 256  # devices whose own word on their home is kept; the least lately heard of is forgotten


class MqttTransport:
    """`ports.Transport` over MQTT 5. Make it anywhere; use it in one event loop, from `start` to `stop`.

    Args:
        notary: signs and judges entries, in a mesh with certificates; `None` where there are none.
    """

    def __init__(self, settings: MqttSettings, rng: random.Random | None = None, notary: Notary | None = None) -> None:
        self.counters = MqttCounters()
        self._settings = settings
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects in time; nobody gains by guessing it
        self._reader = Reader(settings.mesh, settings.device_id, settings.body_bytes_max)
        self._home_urls = parse_home(settings.home)
        self._known_as = {*self._home_urls, *(url for alias in settings.home_aliases for url in parse_home(alias))}
        self._home: Connection | None = None
        self._away = AwayPool(settings, self.counters, self._rng)
        self._raw: RawInbox | None = None
        self._announcements: Announcements | None = None
        self._emit: EmitEvent | None = None
        self._notices = Notices(self.counters)
        self._bad_input = BadInputLog()
        self._limiter = RateLimiter(settings.mesh, settings.device_id, settings.message_rate_hz, settings.message_burst)
        self._last_will: Presence | None = None
        self._entries: PlainEntries | SignedEntries = PlainEntries()
        if notary is not None:
            self._entries = SignedEntries(settings, notary, self.counters, self._send_certificates)
        self._told_homes: OrderedDict[str, str] = OrderedDict()

    @property
    def connected(self) -> bool:
        """Whether the home broker is connected."""
        return self._home is not None and self._home.connected

    def watch(self, channels: Collection[Channel], take: TakeRaw) -> None:
        """Has `take` called with what comes for this device on management channels, one body at a time, in order.

        To be called once, before `start`. A body is at most `body_bytes_max` long and is otherwise as it came; whoever
        takes it checks it. While `raw_max` of a channel wait, more are dropped and counted: their senders repeat.

        Raises:
            ValueError: a channel is none that a device reads, or carries the transport's own messages.
        """
        for channel in channels:
            check_watchable(channel)
        self._raw = RawInbox(frozenset(channels), take, self._settings, self.counters)

    def advertise(self, announcements: Sequence[Announcement]) -> None:
        """Keeps retained messages for others than the mesh at the home broker. To be called once, before `start`."""
        if announcements:
            self._announcements = Announcements(announcements, self._send_home, self._rng)

    async def start(self, emit: EmitEvent, last_will: Presence) -> None:
        """Begins connecting in the background, and keeps reconnecting, until `stop`.

        `emit` gets one event at a time from the home broker; a message is acknowledged to the broker after `emit`
        returned for it, and nothing more is read while it waits (beyond a small bound).
        """
        self._emit = emit
        self._notices.start(emit)
        self._last_will = last_will
        settings = self._settings
        filters = topics.device_inboxes(settings.mesh, settings.device_id)
        optional = (
            topics.others_presence(settings.mesh),
            *(self._announcements.filters if self._announcements else ()),
        )
        if self._raw is not None:
            self._raw.start()
            filters += tuple(
                (topics.topic_filter(settings.mesh, settings.device_id, channel), topics.TABLE[channel].qos)
                for channel in Channel
                if channel in self._raw.channels
            )
        self._home = Connection(
            self._home_urls,
            settings,
            self.counters,
            self._rng,
            client_id=settings.client_id,
            owner=settings.device_id,
            own=True,
            inbox=Inbox(filters, self._take, self._connection_changed, optional),
            will=lambda: self._will(self._last_will or last_will),
            on_trouble=lambda detail: self._notices.put(HealthChanged(Part.BROKER, detail)),
        )
        self._home.start()

    def send_to_device(
        self, device_id: str, home_broker: str, message: PeerMessage, expires_in_s: float | None
    ) -> None:
        """Queues a message for another device's inbox at its home broker; "" is our own.

        A request that is found to be too large, or that the broker refuses, comes back as `SendFailed`.
        """
        if not topics.is_id(device_id):
            self.counters.dropped += 1  # ids from peers are checked when read; this one is from elsewhere
            return
        priority = Priority.BACKGROUND if isinstance(message, ViewExchange) else Priority.PEERS
        item = self._outgoing(device_id, message, priority)
        if isinstance(message, ProposalRequest):
            item.on_refused = self._failed(device_id, message.request_id)
        self._send(device_id, home_broker, item, expires_in_s)

    def publish_raw(
        self,
        device_id: str,
        home_broker: str,
        channel: Channel,
        body: bytes,
        expires_in_s: float | None = None,
        on_delivered: Callable[[], None] | None = None,
    ) -> None:
        """Queues a body of the mesh's management, as `send_to_device` does; `on_delivered` once a broker has taken it.

        Raises:
            ValueError: `device_id` is no id, or `channel` carries the transport's own messages.
        """
        row = topics.TABLE[channel]
        if row.types:
            raise ValueError(f"{channel} is not a management channel")
        topic = topics.written_by(self._settings.device_id, self._settings.mesh, device_id, channel)
        item = Outgoing(topic, body, row.qos, row.retain, Priority.PEERS, on_delivered=on_delivered)
        self._send(device_id, home_broker, item, expires_in_s)

    def send_to_user(
        self, reply: ReplyRoute, message: DeviceToUser, on_sent: Callable[[bool], object] | None = None
    ) -> None:
        """Queues a message for a user; `on_sent` is called once: with True when the home broker has taken it, with
        False when it never will: the outbox is full, it is too large, refused, or this device stops."""
        topic = self._answers(reply)
        if self._home is None or topic is None:
            self.counters.dropped += 1
            if on_sent is not None:
                on_sent(False)
            return
        passing = isinstance(message, TokenChunk | LayerProgress | AnswersPage)  # who asks asks again
        self._home.send(
            Outgoing(
                topic,
                encode(message, reply.body_id),
                topics.row_for(message).qos,
                topics.row_for(message).retain,
                Priority.PROGRESS if passing else Priority.USERS,
                correlation=bytes.fromhex(reply.correlation),
                on_delivered=None if on_sent is None else partial(_sent, on_sent),
                on_refused=None if on_sent is None else partial(_not_sent, on_sent),
                shrink=lambda bytes_max: shrink(message, bytes_max, reply.body_id),
            )
        )

    def publish_presence(self, presence: Presence) -> None:
        """Publishes this device's retained presence, now and again after every reconnect."""
        self._last_will = replace(presence, state=PresenceState.OFFLINE)
        if self._home is not None:
            self._home.greet(self._presence(presence))

    def stand_aside(self, pause_s: float) -> None:
        """Leaves the home broker for so long: another device runs under this one's id, and is to have it alone."""
        if self._home is not None:
            self._home.stand_aside(pause_s)

    def publish_status(self, status: DeviceStatus) -> None:
        """Publishes this device's retained live figures, if it is connected."""
        if self._home is not None:
            self._home.send(self._outgoing(self._settings.device_id, status, Priority.BACKGROUND))

    def renew(self) -> None:
        """Connects anew everywhere, with the certificate files as they are now: call it when they have changed."""
        self._away.renew()
        if self._home is not None:
            self._home.renew()

    async def stop(self) -> None:
        """Sends what is queued, within `flush_s`, then disconnects cleanly so that no last will fires."""
        if self._announcements is not None:
            self._announcements.stop()
        stopping = [self._away.stop()]
        if self._home is not None:
            stopping.append(self._home.stop(self._settings.flush_s))
        await asyncio.gather(*stopping)
        self._home = None
        await self._notices.stop()
        if self._raw is not None:
            await self._raw.stop()

    # --- in ---------------------------------------------------------------------------------------------------------

    async def _take(self, incoming: Incoming) -> None:
        now = asyncio.get_running_loop().time()
        if (address := self._limiter.over_rate(incoming, now)) is not None:
            self.counters.over_rate += 1
            word = self._limiter.word(address, incoming, now)
            if word is not None and self._emit is not None:
                self._bad_input.note_over_rate(incoming.topic, now)
                await self._emit(word)
            return
        managed = self._reader.management(incoming)
        if managed is not None and self._raw is not None and managed.channel in self._raw.channels:
            self._raw.put(managed.channel, managed.principal, incoming.payload)
            return
        if self._announcements is not None and self._announcements.take(incoming):
            return
        event = self._reader.read(incoming)
        if event is None or self._emit is None:
            return
        for one in self._entries.incoming(event, now):
            if isinstance(one, PeerMessageReceived):
                self._hear(one.message)
            if isinstance(one, BadInputReceived):
                self.counters.bad += 1
                self._bad_input.note(incoming.topic, incoming.size, one, now)
            await self._emit(one)

    async def _connection_changed(self, connected: bool) -> None:
        if connected and self._announcements is not None:
            self._announcements.connected()
        if self._emit is not None:
            limits = self._home.limits if self._home is not None and connected else BrokerLimits()
            room = limits.body_bytes_max("", topics.TOPIC_BYTES_MAX)
            no_bound = room >= self._settings.body_bytes_max  # beyond our own
            await self._emit(ConnectionChanged(connected, None if no_bound else int(room)))

    # --- out --------------------------------------------------------------------------------------------------------

    def _send_home(self, item: Outgoing) -> None:
        if self._home is not None:
            self._home.send(item)

    def _will(self, presence: Presence) -> Will:
        item = self._presence(presence)
        return Will(item.topic, item.payload, item.qos, item.retain)

    def _send_certificates(self, device_id: str, home_broker: str, message: BetweenTransports) -> None:
        self._send(device_id, home_broker, self._outgoing(device_id, message, Priority.BACKGROUND), None)

    def _presence(self, presence: Presence) -> Outgoing:
        return self._outgoing(self._settings.device_id, presence, Priority.USERS)

    def _outgoing(self, device_id: str, message: Message, priority: Priority) -> Outgoing:
        message = self._entries.outgoing(message)
        row = topics.row_for(message)
        topic = topics.written_by(self._settings.device_id, self._settings.mesh, device_id, row.channel)
        smaller = partial(shrink, message)
        return Outgoing(topic, encode(message), row.qos, row.retain, priority, shrink=smaller)

    def _answers(self, reply: ReplyRoute) -> str | None:
        """Returns where a user is answered; `None` if the route is none, as one from a damaged journal."""
        channel = Channel.ANSWERS
        try:
            return topics.build(self._settings.mesh, self._settings.device_id, channel, reply.principal, reply.client)
        except ValueError:
            return None

    def _failed(self, device_id: str, message_id: str) -> Callable[[str], None]:
        return lambda why: self._notices.put(SendFailed(device_id, message_id, why))

    def _send(self, device_id: str, home_broker: str, item: Outgoing, expires_in_s: float | None) -> None:
        if expires_in_s is not None:
            item.expires_at = asyncio.get_running_loop().time() + expires_in_s
        if not self._sent_somewhere(device_id, home_broker, item):
            self.counters.bad_homes += 1

    def _sent_somewhere(self, device_id: str, home_broker: str, item: Outgoing) -> bool:
        """Queues a message for a device at its home broker; returns False if that one's URL is unusable."""
        if self._home is None:
            return False
        try:
            home = parse_home(home_broker) if home_broker else ()
        except ValueError:
            return False
        if not home or not self._known_as.isdisjoint(home):  # all addresses of a cluster are one home
            self._home.send(item)
            return True
        if self._home_urls[0].tls and not home[0].tls:
            return False  # a mesh that encrypts does not send prompts in clear because a peer says so
        return self._away.send(home, device_id, item, first_hand=self._told_homes.get(device_id) == home_broker)

    def _hear(self, message: Message) -> None:
        """Notes where a device itself says to be at home: the broker has let nobody else write this message."""
        told = _own_home(message)
        if told is not None:
            device_id, home = told
            self._told_homes[device_id] = home
            self._told_homes.move_to_end(device_id)
            while len(self._told_homes) > TOLD_HOMES_MAX:
                self._told_homes.popitem(last=False)


def _own_home(message: Message) -> tuple[str, str] | None:
    """What a message says of its sender's own home: (device, home)."""
    if isinstance(message, ViewExchange):
        return next(((entry.device_id, entry.home_broker) for entry in message.entries[:1]), None)
    if isinstance(message, Presence):
        return message.entry.device_id, message.entry.home_broker
    if isinstance(message, ProposalRequest):
        return message.origin, message.origin_home
    return None


def _sent(on_sent: Callable[[bool], object]) -> None:
    on_sent(True)


def _not_sent(on_sent: Callable[[bool], object], why: str) -> None:
    _log.warning("an answer could not be sent and will be sent later: %s", why)
    on_sent(False)
