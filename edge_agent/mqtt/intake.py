"""What a broker delivers over one connection: read with real back-pressure, and acknowledged when it was taken.

aiomqtt's own queue drops messages that were acknowledged already, or grows without bound. All of this runs in the event
loop's thread.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import aiomqtt
from paho.mqtt.client import MQTTMessage

from edge_agent.mqtt.client import PACKET_BYTES_MAX

WAITING_MAX = 1_000  # messages read and not taken by whoever names no other bound


def unheard(*_told: object) -> None:
    """For whoever is told and has nothing to do about it."""


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


@final
@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is read ahead, and what becomes of more.

    waiting_max: messages read and not taken yet; at that many the socket is left alone.
    sheds: whether QoS 0 messages are dropped then, where the broker knows QoS 1: what matters comes at that.
    whole_max: bytes of a payload that is kept whole; of a longer one what `cut` makes of it.
    came: told of each message that comes, and whether it is kept.
    """

    waiting_max: int = WAITING_MAX
    sheds: bool = False
    whole_max: float = math.inf
    cut: Callable[[bytes], bytes] = bytes
    came: Callable[[bool], object] = unheard


class Intake:
    """Takes over what a client reads. Make one before the client connects."""

    def __init__(self, client: aiomqtt.Client, bounds: Bounds) -> None:
        self.qos_max = 2
        """What the broker takes, and so gives."""
        self._client = client
        self._paho = client._client
        self._loop = asyncio.get_running_loop()
        self._bounds = bounds
        self._backlog: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._paused = False
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._message
        paho: Any = self._paho
        self._paho_receives: Callable[[int], bytes] = paho._sock_recv
        paho._sock_recv = self._receive

    def __len__(self) -> int:
        return len(self._backlog)

    def end(self, *, drop: bool) -> None:
        """No more comes. `drop`: nor is what has come to be taken."""
        if drop:
            self._backlog.clear()
        self._ended = True
        self._arrived.set()

    async def next(self) -> Incoming | None:
        """Waits for the next message; `None` once it has ended and all that had come was returned."""
        while not self._backlog:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._backlog.popleft()
        if self._paused and len(self._backlog) <= self._bounds.waiting_max // 2:
            self._resume()
        return message

    def acknowledge(self, message: Incoming) -> None:
        """Tells the broker that a message was taken: only now may it forget it."""
        if message.qos and not self._ended:
            self._paho.ack(message.mid, message.qos)

    def fail(self, error: Exception) -> None:
        """The connection is lost, for this reason."""
        if not self._client._disconnected.done():
            self._client._disconnected.set_exception(error)

    def _message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        bounds = self._bounds
        # Where QoS 0 is all there is, a message at QoS 0 may be a prompt; the pause alone then bounds the backlog.
        kept = not bounds.sheds or message.qos > 0 or not self.qos_max or len(self._backlog) < bounds.waiting_max
        bounds.came(kept)
        if not kept:
            return
        properties, payload = message.properties, bytes(message.payload)
        too_large = len(payload) > bounds.whole_max
        self._backlog.append(
            Incoming(
                message._topic.decode(errors="replace"),  # its `topic` raises on wrong UTF-8
                bounds.cut(payload) if too_large else payload,
                message.qos,
                message.retain,
                message.mid,
                getattr(properties, "ResponseTopic", ""),
                getattr(properties, "CorrelationData", b""),
                len(payload) if too_large else None,
            )
        )
        self._arrived.set()
        if len(self._backlog) >= bounds.waiting_max:
            self._pause()

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
            self.fail(error)

    def _receive(self, size: int) -> bytes:
        """Reads for paho, which asks for all that is left of a packet; nothing is the end of the connection."""
        if size > PACKET_BYTES_MAX:
            self.fail(
                aiomqtt.MqttError(f"sends a packet of {size:,} bytes, though at most {PACKET_BYTES_MAX:,} are taken")
            )
            return b""
        return self._paho_receives(size)
