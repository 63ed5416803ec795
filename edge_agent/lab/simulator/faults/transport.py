"""What a device sends, until its broker has it: an outbox with the habits of the real transport.

Before it has started it drops everything. Without a connection it keeps what matters, up to a bound, the least
important giving way first, and drops what is worth nothing later. What went down with a connection before the broker
confirmed it is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from typing import final

from edge_agent.core import effects as fx
from edge_agent.core.messages import (
    AnswersPage,
    DeviceToUser,
    LayerProgress,
    PeerMessage,
    Presence,
    TokenChunk,
    ViewExchange,
)
from edge_agent.lab.simulator.cluster import FOREVER


class Priority(IntEnum):
    """Who gives way first, as in the real outbox."""

    BACKGROUND = 0
    PROGRESS = 1
    PEERS = 2
    USERS = 3


_VOLATILE_MAX = Priority.PROGRESS


@final
class Outgoing:
    """A message on its way to the broker: for a device, for a user, or this device's presence."""

    __slots__ = ("effect", "expires_at", "message", "priority", "sequence")

    def __init__(
        self,
        effect: fx.SendToDevice | fx.SendToUser | None,
        message: PeerMessage | DeviceToUser | Presence,
        expires_at: float = FOREVER,
    ) -> None:
        self.effect = effect
        self.message = message
        self.expires_at = expires_at
        self.priority = _priority(message)
        self.sequence = 0


def _priority(message: PeerMessage | DeviceToUser | Presence) -> Priority:
    kind = type(message)
    if kind is ViewExchange:
        return Priority.BACKGROUND
    if kind is TokenChunk or kind is LayerProgress or kind is AnswersPage:
        return Priority.PROGRESS
    return Priority.USERS if isinstance(message, Presence | DeviceToUser) else Priority.PEERS


class Transport:
    """One device's, from its start to its death.

    Args:
        strict: whether it drops what the real one drops; otherwise it keeps everything.
        items_max: messages it keeps without a connection.
        keeps_peers: whether it keeps what is for other devices.
        hand_over: takes a message to the broker; returns whether the broker is still to confirm it (`confirmed`).
        on_dropped: told of every message that will never be sent.
    """

    def __init__(
        self,
        *,
        strict: bool,
        items_max: int,
        keeps_peers: bool,
        hand_over: Callable[[Outgoing], bool],
        on_dropped: Callable[[Outgoing], None] = lambda item: None,
    ) -> None:
        self.connected = False
        self.connections = 0
        """How many there were: a word on an earlier one means nothing on a later."""
        self.dropped = 0
        self._keeps_peers = keeps_peers
        self._strict = strict
        self._started = not strict
        self._hopeful = True
        self._items_max = items_max
        self._hand_over = hand_over
        self._on_dropped = on_dropped
        self._lanes: tuple[deque[Outgoing], ...] = tuple(deque() for _ in Priority)
        self._greeting: Outgoing | None = None
        self._numbers = count(1)
        self.unconfirmed: dict[int, Outgoing] = {}
        """What the broker has been handed and has not confirmed, by its number."""

    def start(self) -> None:
        """From now on it takes messages."""
        self._started = True

    def send(self, item: Outgoing) -> None:
        """Sends now, or keeps for later, or drops."""
        if not self._started or (self._strict and item.priority <= _VOLATILE_MAX and not self._hopeful):
            self._drop(item)
            return
        item.sequence = next(self._numbers)
        if self.connected:
            self._send(item)
            return
        if item.priority == Priority.PEERS and not self._keeps_peers:
            self._drop(item)
            return
        while sum(len(lane) for lane in self._lanes) >= self._items_max:
            lowest = next(lane for lane in self._lanes if lane)
            if lowest[0].priority > item.priority:
                self._drop(item)
                return
            self._drop(lowest.popleft())
        self._lanes[item.priority].append(item)

    def greet(self, presence: Presence) -> None:
        """Sends presence now if connected, and again first of all at every connect."""
        if not self._started:
            self.dropped += 1
            return
        self._greeting = Outgoing(None, presence)
        if self.connected:
            self.send(Outgoing(None, presence))

    def connect(self, now: float) -> None:
        """There is a connection: what has waited goes on its way, in the order it came."""
        self.connected = self._hopeful = True
        self.connections += 1
        waiting = sorted((item for lane in self._lanes for item in lane), key=lambda item: item.sequence)
        for lane in self._lanes:
            lane.clear()
        if self._greeting is not None:
            waiting.insert(0, Outgoing(None, self._greeting.message))
        for item in waiting:
            if now < item.expires_at:
                self._send(item)

    def lose(self, *, failed: bool = False) -> None:
        """The connection is lost, or one could not be made (`failed`)."""
        if not self.connected and not failed:
            return
        self.connected = self._hopeful = False
        again, self.unconfirmed = self.unconfirmed, {}
        for item in reversed(again.values()):
            self._lanes[item.priority].appendleft(item)
        if self._strict:
            for lane in self._lanes[: _VOLATILE_MAX + 1]:
                self.dropped += len(lane)
                lane.clear()

    def confirmed(self, number: int) -> bool:
        """The broker has confirmed a message; returns whether that was still awaited."""
        return self.unconfirmed.pop(number, None) is not None

    def _drop(self, item: Outgoing) -> None:
        self.dropped += 1
        self._on_dropped(item)

    def _send(self, item: Outgoing) -> None:
        if self._hand_over(item):
            self.unconfirmed[item.sequence] = item
