"""What one connection sends: out of the outbox, within what the broker takes, and again if a connection breaks first.

What was published and not acknowledged is published again: repeats are harmless in this protocol, losses are not. What
will never be taken comes back to whoever sent it, at once and in words.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

from edge_agent.adapters.mqtt.outbox import VOLATILE_MAX, Outbox, Outgoing
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.troubles import Troubles
from edge_agent.mqtt import PACKET_OVERHEAD, PACKET_TOO_LARGE, Link, of_code

UNDER_WAY_PART = 4  # of the bytes that a broker may cost, one in so many may be under way


class Sender:
    """Sends over the link that is attached. `idle` is set while nothing waits.

    Args:
        bytes_max: of what waits and what is under way.
        url: names the broker, for words.
    """

    def __init__(
        self,
        settings: MqttSettings,
        counters: MqttCounters,
        troubles: Troubles,
        bytes_max: int,
        url: Callable[[], str],
    ) -> None:
        self.link: Link | None = None
        self.greeting: Outgoing | None = None
        """Sent first of all over every link."""
        self.idle = asyncio.Event()
        self.idle.set()
        self._settings = settings
        self._counters = counters
        self._troubles = troubles
        self._url = url
        self._bytes_max = bytes_max
        self._outbox = Outbox(settings.outgoing_max, bytes_max, counters)
        self._in_flight: dict[int, Outgoing] = {}
        self._hopeful = True  # until the first failure, what is worth nothing later may wait for the connect
        self._packet_bytes_learned = math.inf  # what a broker hung up on without having named a limit

    @property
    def waiting(self) -> int:
        """Messages queued or not acknowledged yet."""
        return len(self._outbox) + len(self._in_flight)

    def send(self, item: Outgoing) -> None:
        """Sends `item` now if the link has room, else queues it."""
        if item.priority <= VOLATILE_MAX and not self._hopeful:
            self._counters.dropped += 1
            return
        if not self._fits_a_body(item):
            return
        self.idle.clear()
        self._outbox.put(item, self._under_way)
        self._pump()

    def attach(self, link: Link) -> None:
        """Sends over this link from now on."""
        self.link = link
        self._hopeful = True
        if self.greeting is not None:
            self._outbox.put_back([replace(self.greeting)])
        self._pump()

    def published(self, number: int, code: int) -> None:
        """Message `number` is done: taken, or refused by the broker with a reason `code` other than 0."""
        item = self._in_flight.pop(number, None)
        if item is None:
            return
        self._pump()
        if code:
            why = f"refused a message to {item.topic}: {of_code(code).detail}"
            self._troubles.stand(f"write {item.topic}", why)
            self._refuse(item, f"the broker {self._url()} {why}", said=True)
        elif item.qos:
            self._counters.delivered += 1
            self._troubles.settle(f"write {item.topic}")
            if item.on_delivered is not None:
                item.on_delivered()

    def lost(self, code: int) -> None:
        """The link is gone, for the reason `code`, 0 if the broker gave none."""
        self.link = None
        under_way = list(self._in_flight.values())
        self._in_flight.clear()
        if code == PACKET_TOO_LARGE and under_way:
            self._packet_bytes_learned = _packet_bytes(max(under_way, key=_packet_bytes)) - 1  # `_pump` refuses it then
        again = [item for item in under_way if item.qos and item.sends < self._settings.sends_max]
        for item in under_way:
            if item.qos and item.sends >= self._settings.sends_max:
                self._refuse(item, f"the connection to {self._url()} broke each of the {item.sends} times it was sent")
        self._counters.dropped += len(under_way) - len(again)
        self._outbox.put_back(again)
        self.drop_volatile()

    def drop_volatile(self) -> None:
        """Drops what is worth nothing later, until a link is attached."""
        self._hopeful = False
        self._outbox.drop_volatile()
        self._note_idle()

    def _pump(self) -> None:
        """Publishes what is waiting, up to the number that may be under way."""
        now = asyncio.get_running_loop().time()
        while (link := self.link) is not None and self._may_publish(link):
            item = self._outbox.pop(now)
            if item is None:
                break
            if self._fits_the_broker(link, item):
                self._publish(link, item, now)
        self._note_idle()

    @property
    def _under_way(self) -> int:
        """Bytes published and not acknowledged."""
        return sum(item.size for item in self._in_flight.values())

    def _may_publish(self, link: Link) -> bool:
        most = min(self._settings.in_flight_max, link.limits.in_flight_max)
        if not self._in_flight:
            return True
        # until the socket has taken it, the library holds a packed copy of each
        return len(self._in_flight) < most and self._under_way < self._bytes_max // UNDER_WAY_PART

    def _publish(self, link: Link, item: Outgoing, now: float) -> None:
        number = link.publish(
            item.topic,
            item.payload,
            qos=item.qos,
            retain=item.retain,
            correlation=item.correlation,
            expires_in_s=None if item.expires_at is None else item.expires_at - now,
        )
        if number is None:  # just lost: `lost` is about to be called
            self.link = None
            self._outbox.put_back([item])
            return
        item.sends += 1
        self._counters.sent += 1
        self._counters.repeated += item.sends > 1
        self._in_flight[number] = item

    def _fits_a_body(self, item: Outgoing) -> bool:
        """Whether whoever reads it takes a body of this size, whatever the broker does; maybe in fewer words."""
        most = self._settings.body_bytes_max
        return _cut_to(item, most) or self._refuse(
            item, f"{len(item.payload):,} bytes are too many: a message may have {most:,}"
        )

    def _fits_the_broker(self, link: Link, item: Outgoing) -> bool:
        """Whether the broker takes it, maybe in fewer words."""
        size = _packet_bytes(item)
        room = link.limits.body_bytes_max(item.topic, len(item.correlation))
        if _cut_to(item, min(room, self._packet_bytes_learned - size + len(item.payload))):
            return True
        limit = int(min(link.limits.packet_bytes_max, self._packet_bytes_learned))
        return self._refuse(item, f"{size:,} bytes are too many: the broker {self._url()} takes packets of {limit:,}")

    def _refuse(self, item: Outgoing, why: str, *, said: bool = False) -> bool:
        """Tells whoever sent it, or else the log, that it never will be. Returns `False`, for callers to hand on."""
        self._counters.refused += 1
        if item.on_refused is not None:
            item.on_refused(why)
        elif not said:
            self._troubles.remark(f"a message to {item.topic} is not sent: {why}")
        return False

    def _note_idle(self) -> None:
        if not self.waiting:
            self.idle.set()


def _cut_to(item: Outgoing, room: float) -> bool:
    if len(item.payload) <= room:
        return True
    smaller = item.shrink(int(room)) if item.shrink is not None and room > 0 else None
    if smaller is None:
        return False
    item.payload = smaller
    return True


def _packet_bytes(item: Outgoing) -> int:
    """How large a packet it makes, rounded up."""
    return item.size + len(item.correlation) + PACKET_OVERHEAD
