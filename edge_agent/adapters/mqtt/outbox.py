"""What waits to be published to one broker: first in, first out, and bounded.

When it is full, the oldest of the least important gives way. An answer a device has worked for is the last to go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import final

from edge_agent.adapters.mqtt.settings import MqttCounters


class Priority(IntEnum):
    """Who gives way first."""

    BACKGROUND = 0  # gossip and status: the next one replaces it
    PROGRESS = 1  # token chunks and layer progress: the answer holds their text
    PEERS = 2  # requests, receipts, responses: the protocol repeats or replaces them
    USERS = 3  # receipts, refusals and answers to users, and presence


VOLATILE_MAX = Priority.PROGRESS
"""Up to this priority a message is worth nothing later: it does not wait for a broken connection."""


@final
@dataclass(slots=True)
class Outgoing:
    """A message on its way to one broker. `expires_at` is on the loop's clock.

    shrink: makes a payload of at most so many bytes that says the same in fewer words, `None` where there is none.
    on_refused: told in words why it will never be sent.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    priority: Priority
    correlation: bytes = b""
    expires_at: float | None = None
    on_delivered: Callable[[], None] | None = None
    shrink: Callable[[int], bytes | None] | None = None
    on_refused: Callable[[str], None] | None = None
    sequence: int = 0
    sends: int = 0

    @property
    def size(self) -> int:
        """Bytes it is counted with."""
        return len(self.topic) + len(self.payload)


class Outbox:
    """A bounded first-in-first-out queue with one lane for each priority."""

    def __init__(self, items_max: int, bytes_max: int, counters: MqttCounters) -> None:
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._counters = counters
        self._lanes: dict[Priority, deque[Outgoing]] = {priority: deque() for priority in Priority}
        self._sequence = 0
        self._items = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._items

    @property
    def size(self) -> int:
        """Bytes waiting."""
        return self._bytes

    def put(self, item: Outgoing, under_way: int = 0) -> None:
        """Queues `item` behind all others; drops what is least important if there is no room, maybe `item` itself.

        under_way: bytes that were popped and may come back; they count as if they waited.
        """
        self._sequence += 1
        item.sequence = self._sequence
        while self._items >= self._items_max or self._bytes + under_way + item.size > self._bytes_max:
            lowest = next((priority for priority in Priority if self._lanes[priority]), None)
            self._counters.dropped += 1
            if lowest is None or lowest > item.priority:
                _refuse(item)
                return
            _refuse(self._take(lowest))
        self._add(item)

    def put_back(self, items: list[Outgoing]) -> None:
        """Puts messages that had been popped back where they were, in spite of the bound: they are few."""
        for item in sorted(items, key=lambda item: item.sequence, reverse=True):
            self._lanes[item.priority].appendleft(item)
            self._count(item, 1)

    def pop(self, now: float) -> Outgoing | None:
        """Returns the oldest message that has not expired, or `None`."""
        while self._items:
            item = self._take(min((p for p in Priority if self._lanes[p]), key=lambda p: self._lanes[p][0].sequence))
            if item.expires_at is None or now < item.expires_at:
                return item
            self._counters.expired += 1
        return None

    def drop_volatile(self) -> None:
        """Drops what is worth nothing later."""
        for priority in Priority:
            while priority <= VOLATILE_MAX and self._lanes[priority]:
                self._take(priority)
                self._counters.dropped += 1

    def _add(self, item: Outgoing) -> None:
        self._lanes[item.priority].append(item)
        self._count(item, 1)

    def _take(self, priority: Priority) -> Outgoing:
        item = self._lanes[priority].popleft()
        self._count(item, -1)
        return item

    def _count(self, item: Outgoing, sign: int) -> None:
        self._items += sign
        self._bytes += sign * item.size


def _refuse(item: Outgoing) -> None:
    if item.on_refused is not None:
        item.on_refused("too many messages wait for the broker already")
