"""The network between devices: delays, losses, doubles, reordering, partitions, and a broker that may go.

A message goes from its sender to the broker and from there to its receiver. A receiver without a connection gets it
from the broker later, if that keeps it, or never. What a sender does without one is its transport's.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.core.errors import SettingsError
from edge_agent.core.events import Event
from edge_agent.service_time import ServiceTime

BROKER_QUEUE_MAX = 256  # messages a broker keeps for one that is away; beyond that it drops in silence, as brokers do


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the network does to messages. Shares are of all messages, each drawn by itself.

    delay: the least time a message takes, in seconds; jitter: a random time on top, if any.
    reordered: share that takes up to `reorder_s` more and lets later ones pass; all others keep their order.
    broker_keeps: whether the broker keeps messages for a device that is away (a session of MQTT).
    outbox_keeps: whether a sender keeps what it could not send to other devices (it always loses it when it dies).
    """

    delay_s: float = 0.0
    jitter: ServiceTime | None = None
    lost: float = 0.0
    doubled: float = 0.0
    reordered: float = 0.0
    reorder_s: float = 1.0
    broker_keeps: bool = True
    outbox_keeps: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.delay_s < float("inf"):
            raise SettingsError(f"the network delay must be 0 or more seconds, not {self.delay_s}")
        for name in ("lost", "doubled", "reordered"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"the share of messages {name} must be 0 to 1, not {getattr(self, name)}")


Post = Callable[[float, int, Event], None]
"""Has an event reach a device at a time."""


class Network:
    """Carries events between devices, and between devices and their users (who are sender -1).

    post: called for each message with the time at which it arrives.
    """

    def __init__(self, settings: NetworkSettings, devices: int, rng: random.Random, post: Post) -> None:
        self.settings = settings
        self.connected = [True] * devices
        self.carried = self.lost = 0
        self._side = [0] * devices
        self._rng = rng
        self._post = post
        self._kept: list[deque[Event]] = [deque() for _ in range(devices)]
        self._last: dict[tuple[int, int], float] = {}

    def send(self, now: float, sender: int, receiver: int, event: Event, expires_in_s: float | None = None) -> None:
        """Takes a message at `now`, from a device that is connected."""
        if sender >= 0 and self._side[sender] != self._side[receiver]:
            self.lost += 1
            return
        self._carry(now, sender, receiver, event, expires_in_s)

    def arrives(self, receiver: int, event: Event) -> bool:
        """Returns whether a message can be handed to its receiver now; if not, it is kept or lost."""
        if self.connected[receiver]:
            return True
        kept = self._kept[receiver]
        if self.settings.broker_keeps and len(kept) < BROKER_QUEUE_MAX:
            kept.append(event)
        else:
            self.lost += 1
        return False

    def disconnect(self, device: int) -> None:
        """A device loses its connection."""
        self.connected[device] = False

    def connect(self, now: float, device: int) -> None:
        """A device is connected again: what the broker kept for it goes on its way."""
        self.connected[device] = True
        kept, self._kept[device] = self._kept[device], deque()
        for event in kept:
            self._post(now, device, event)

    def forget_kept(self) -> None:
        """The broker restarts without what it kept."""
        for kept in self._kept:
            kept.clear()

    def split(self, sides: list[int]) -> None:
        """Nothing passes between devices of different sides, though each believes itself connected."""
        self._side = sides

    def heal(self, settings: NetworkSettings) -> None:
        """Ends every partition and carries by `settings` from now on."""
        self._side = [0] * len(self._side)
        self.settings = settings

    def _carry(self, now: float, sender: int, receiver: int, event: Event, expires_in_s: float | None) -> None:
        settings, rng = self.settings, self._rng
        self.carried += 1
        if settings.lost and rng.random() < settings.lost:
            self.lost += 1
            return
        copies = 2 if settings.doubled and rng.random() < settings.doubled else 1
        for _ in range(copies):
            delay = settings.delay_s
            if settings.jitter is not None:
                delay += settings.jitter.draw(rng)
            arrives_at = now + delay
            if settings.reordered and rng.random() < settings.reordered:
                arrives_at += settings.reorder_s * rng.random()
            elif settings.jitter is not None:  # a connection keeps its order, however late it is
                arrives_at = max(arrives_at, self._last.get((sender, receiver), 0.0))
                self._last[sender, receiver] = arrives_at
            if expires_in_s is None or arrives_at - now < expires_in_s:
                self._post(arrives_at, receiver, event)
            else:
                self.lost += 1
