"""What claiming and answering need of a connection to a broker. `mqtt_link` is the one over MQTT."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, final


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
