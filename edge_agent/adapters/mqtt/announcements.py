"""Announcements for others than the mesh: retained messages that are kept at the home broker while this device runs.

They are sent at every connect, because a broker may have forgotten them, and again when somebody who reads them says
that they have just started. Then after a random delay: a whole mesh hears that at the same moment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.adapters.mqtt.outbox import Outgoing, Priority
from edge_agent.mqtt import Incoming

REPEAT_DELAY_MAX_S = 10.0  # spreads the announcements of a hundred devices enough, and nobody waits for them


@final
@dataclass(frozen=True, slots=True)
class Announcement:
    """A retained message; an empty body takes it back.

    wanted_on, wanted_as: the topic and body by which its reader asks for it again; "" is nobody.
    on_delivered: called each time the broker has taken it.
    """

    topic: str
    body: bytes
    wanted_on: str = ""
    wanted_as: bytes = b""
    on_delivered: Callable[[], None] | None = None


class Announcements:
    """Keeps the announcements of one device sent. Use it in the event loop; `stop` ends what is still to come."""

    def __init__(
        self, announcements: Sequence[Announcement], send: Callable[[Outgoing], None], rng: random.Random
    ) -> None:
        self._announcements = tuple(announcements)
        self._send = send
        self._rng = rng
        self._waiting: dict[Announcement, asyncio.TimerHandle] = {}

    @property
    def filters(self) -> tuple[tuple[str, int], ...]:
        """What is to be read for them, as (filter, QoS)."""
        return tuple(
            (topic, 1) for topic in dict.fromkeys(one.wanted_on for one in self._announcements if one.wanted_on)
        )

    def connected(self) -> None:
        """The home broker is connected (again)."""
        for announcement in self._announcements:
            self._publish(announcement)

    def take(self, incoming: Incoming) -> bool:
        """Takes a message if it is for the announcements; returns whether it was.

        A retained one is old news: whoever said it has found the announcements retained, too.
        """
        asked = [announcement for announcement in self._announcements if announcement.wanted_on == incoming.topic]
        for announcement in asked:
            if incoming.payload == announcement.wanted_as and not incoming.retain and announcement not in self._waiting:
                delay_s = self._rng.uniform(0.0, REPEAT_DELAY_MAX_S)
                self._waiting[announcement] = asyncio.get_running_loop().call_later(
                    delay_s, self._publish, announcement
                )
        return bool(asked)

    def stop(self) -> None:
        """Nothing more is sent."""
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    def _publish(self, announcement: Announcement) -> None:
        waiting = self._waiting.pop(announcement, None)
        if waiting is not None:
            waiting.cancel()
        self._send(
            Outgoing(
                announcement.topic, announcement.body, 1, True, Priority.PEERS, on_delivered=announcement.on_delivered
            )
        )
