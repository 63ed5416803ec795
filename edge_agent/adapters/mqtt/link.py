"""One connection while it is up: publishing that does not wait, and reading with real back-pressure.

aiomqtt connects, subscribes, keeps alive and disconnects. Its incoming queue and its `publish` are not used: the queue
drops messages that were acknowledged already (or grows without bound), and `publish` needs a task for each message
under way. Only this file and `client` reach into aiomqtt to do better. All of it runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, ConnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.adapters.mqtt.client import PACKET_BYTES_MAX, unless_lost
from edge_agent.adapters.mqtt.dial import Dial
from edge_agent.adapters.mqtt.limits import BrokerLimits
from edge_agent.adapters.mqtt.outbox import Outgoing
from edge_agent.adapters.mqtt.reasons import WILDCARDS_NOT_SUPPORTED, code_of
from edge_agent.adapters.mqtt.settings import Counters
from edge_agent.wire.salvage import ends_of

_WILD = frozenset("+#")


@final
@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came.

    cut_from: how long a payload was that is too large to be read, and of which only the ends are kept.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    response_topic: str
    correlation: bytes
    cut_from: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the payload that came."""
        return len(self.payload) if self.cut_from is None else self.cut_from


class Link:
    """Wraps a client before it connects; use `async with link.client`, then `opened()`.

    on_published(mid, code): a broker acknowledged a message (QoS 1), or it is on the socket (QoS 0), and code is 0; or
    the broker refused it, with the code of its reason. body_bytes_max: of a payload that is kept whole.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        incoming_max: int,
        body_bytes_max: int,
        counters: Counters,
        on_published: Callable[[int, int], None],
    ) -> None:
        self.client = client
        self.limits = BrokerLimits()
        """What the broker allows, as told in its CONNACK."""
        self.lost_by: BaseException | None = None
        """Why the connection was lost, once it was; `None` if it ended as it should."""
        self._paho = client._client
        self._loop = asyncio.get_running_loop()
        self._incoming_max = incoming_max
        self._body_bytes_max = body_bytes_max
        self._counters = counters
        self._on_published = on_published
        self._backlog: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._paused = False
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._message
        self._paho.on_publish = self._published
        self._aiomqtt_on_connect: Callable[..., None] = client._on_connect
        self._paho.on_connect = self._connected
        paho: Any = self._paho
        self._paho_receives: Callable[[int], bytes] = paho._sock_recv
        paho._sock_recv = self._receive
        self._paho.on_socket_register_write = self._register_write
        self._thread = threading.get_ident()
        self._dial = Dial(client)

    # --- life -------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """To be called once the client is connected: from now on a lost connection ends `next`."""
        self.client._disconnected.add_done_callback(self._lost)

    def end(self) -> None:
        """Makes `next` return `None` at once."""
        self._backlog.clear()
        self._ended = True
        self._arrived.set()

    def give_up(self) -> None:
        """Ends a connect under way, at whatever step it is; `async with link.client` then raises."""
        self._dial.give_up()

    def close_socket(self) -> None:
        """Closes the socket if it is still open, as after a connect that timed out or was cancelled half-way."""
        self._paho._sock_close()

    async def subscribe(self, filters: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
        """Subscribes to (filter, QoS) pairs; returns those that the broker did not grant, with its reason codes.

        Filters with a wildcard are not even tried where the broker has said that it allows none.

        Raises:
            aiomqtt.MqttError: the connection broke.
        """
        allowed = [(topic, qos) for topic, qos in filters if self.limits.wildcards or not _WILD.intersection(topic)]
        left_out = [(topic, WILDCARDS_NOT_SUPPORTED) for topic, qos in filters if (topic, qos) not in allowed]
        if not allowed:
            return left_out
        options = [(topic, SubscribeOptions(qos)) for topic, qos in allowed]
        codes = await unless_lost(self.client, self.client.subscribe(options))
        refused = [(topic, code_of(code)) for (topic, _), code in zip(allowed, codes, strict=True) if code_of(code)]
        return left_out + refused

    # --- out --------------------------------------------------------------------------------------------------------

    def room(self, item: Outgoing) -> float:
        """How large the payload of `item` may be; on a larger packet the broker would break the connection."""
        return self.limits.body_bytes_max(item.topic, len(item.correlation))

    def publish(self, item: Outgoing, now: float) -> int | None:
        """Hands a message to the socket's buffer. Returns its number, or `None` if the connection is lost.

        Where the broker retains nothing, or takes no QoS 1, it goes without: the protocol needs neither.
        """
        qos, retain = min(item.qos, self.limits.qos_max), item.retain and self.limits.retain
        info = self._paho.publish(item.topic, item.payload, qos, retain, _properties(item, now))
        return info.mid if info.rc == MQTT_ERR_SUCCESS else None

    # --- in ---------------------------------------------------------------------------------------------------------

    async def next(self) -> Incoming | None:
        """Waits for the next message; `None` once the connection is lost and all that had come was returned."""
        while not self._backlog:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._backlog.popleft()
        if self._paused and len(self._backlog) <= self._incoming_max // 2:
            self._resume()
        return message

    def acknowledge(self, message: Incoming) -> None:
        """Tells the broker that a message was taken: only now may it forget it."""
        if message.qos and not self._ended:
            self._paho.ack(message.mid, message.qos)

    # --- callbacks of paho ------------------------------------------------------------------------------------------

    def _connected(
        self, client: Any, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.limits = BrokerLimits.of(properties)
        self._paho.on_log = None  # why a connect failed is of use no more, and every packet would be logged
        self._aiomqtt_on_connect(client, userdata, flags, reason, properties)

    def _message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        self._counters.received += 1
        # Where QoS 0 is all there is, a message at QoS 0 may be a prompt; the pause alone then bounds the backlog.
        if message.qos == 0 < self.limits.qos_max and len(self._backlog) >= self._incoming_max:
            self._counters.gossip_dropped += 1
            return
        properties, payload = message.properties, bytes(message.payload)
        too_large = len(payload) > self._body_bytes_max
        self._backlog.append(
            Incoming(
                message._topic.decode(errors="replace"),  # its `topic` raises on wrong UTF-8
                ends_of(payload) if too_large else payload,
                message.qos,
                message.retain,
                message.mid,
                getattr(properties, "ResponseTopic", ""),
                getattr(properties, "CorrelationData", b""),
                len(payload) if too_large else None,
            )
        )
        self._arrived.set()
        if len(self._backlog) >= self._incoming_max:
            self._pause()

    def _published(self, client: Any, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        # Not from inside paho's callback: it has not yet counted this message as done, and holds its lock.
        self._loop.call_soon(self._on_published, mid, code_of(reason))

    def _register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        # aiomqtt registers in the loop's next turn. By then the socket may be closed and its number somebody else's,
        # whose readiness would then wake this client for ever.
        if threading.get_ident() == self._thread:
            self._add_writer(sock)
        else:  # while connecting, in a thread
            self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _lost(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            self.lost_by = disconnected.exception()
        self._ended = True
        self._arrived.set()

    # --- back-pressure: brokers need not keep to ReceiveMaximum (mosquitto 2.0 does only at first) --------------------

    def _pause(self) -> None:
        if not self._paused and (sock := self._paho.socket()) is not None:
            self._paused = True
            self._loop.remove_reader(sock.fileno())

    def _resume(self) -> None:
        self._paused = False
        if not self._ended and (sock := self._paho.socket()) is not None:
            self._loop.add_reader(sock.fileno(), self._read)
            self._loop.call_soon(self._read)  # TLS may hold bytes that the socket will not announce again

    def _read(self) -> None:
        try:
            while not self._paused:
                self._paho.loop_read()
                pending = getattr(self._paho.socket(), "pending", None)  # TLS sockets have it
                if pending is None or not pending():
                    break
        except Exception as error:
            self._fail(error)

    def _write(self) -> None:
        try:
            self._paho.loop_write()
        except Exception as error:
            self._fail(error)

    def _receive(self, size: int) -> bytes:
        """Reads for paho, which asks for all that is left of a packet; nothing is the end of the connection."""
        if size > PACKET_BYTES_MAX:
            self._fail(aiomqtt.MqttError(f"sends a packet of {size:,} bytes, though told to send {PACKET_BYTES_MAX:,}"))
            return b""
        return self._paho_receives(size)

    def _fail(self, error: Exception) -> None:
        if not self.client._disconnected.done():
            self.client._disconnected.set_exception(error)


def _properties(item: Outgoing, now: float) -> Properties | None:
    if not item.correlation and item.expires_at is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
    if item.correlation:
        properties.CorrelationData = item.correlation
    if item.expires_at is not None:
        properties.MessageExpiryInterval = max(1, math.ceil(item.expires_at - now))
    return properties
