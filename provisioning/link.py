"""What claiming and answering need of a connection to a broker. `mqtt_link` is the one over MQTT."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, final

_log = logging.getLogger(__name__)

PAUSE_MIN_S = 0.5  # before reconnecting
PAUSE_MAX_S = 8.0  # a broker that comes back hears of a revocation within that time; a try costs it next to nothing


class LinkError(Exception):
    """There is no connection, or it broke. One line that says why."""


@final
@dataclass(frozen=True, slots=True)
class Received:
    """A message that came in. `retained`: the broker kept it from earlier."""

    topic: str
    body: bytes
    retained: bool = False


class Link(Protocol):
    """An open connection. Every method raises `LinkError` once it is broken."""

    async def subscribe(self, topic_filter: str) -> None:
        """Returns when the broker has taken the subscription."""

    async def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        """Returns when the broker has taken the message (QoS 1). `retain`: it keeps it; without a body, it forgets."""

    async def receive(self) -> Received:
        """Waits for the next message."""


Connect = Callable[[], AbstractAsyncContextManager[Link]]
"""Opens a new connection each time; entering it raises `LinkError` if that fails."""


class Serving(ABC):
    """Something done at one broker over connections that may break."""

    def __init__(self, connect: Connect, name: str = "") -> None:
        self._connect = connect
        self._name = name
        self.problem = ""
        """Why there is no connection; "" while there is one."""

    async def run(self) -> None:
        """Connects, works, and connects again, until it is cancelled. Each different problem is one line in the log."""
        pause_s = PAUSE_MIN_S
        while True:
            try:
                async with self._connect() as link:
                    await self._begin(link)
                    self.problem, pause_s = "", PAUSE_MIN_S
                    await self._serve(link)
            except LinkError as error:
                if str(error) != self.problem:
                    _log.warning("%s%s; trying again", self._name, error)
                self.problem = str(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    @abstractmethod
    async def _begin(self, link: Link) -> None:
        """Subscribes on a new connection."""

    @abstractmethod
    async def _serve(self, link: Link) -> None:
        """Works until the connection breaks."""
