"""A side channel for the mesh's management: bodies that this transport carries and does not read.

Jobs, certificates and revocations share the device's one connection but not its queue of events: taking one may be
slow, and prompts must not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge_agent.adapters.mqtt.settings import Counters
from edge_agent.tasks import Keeper
from edge_agent.wire.topics import TABLE, Channel, Role

_log = logging.getLogger(__name__)

TakeRaw = Callable[[Channel, bytes], Awaitable[None]]
"""Takes one body at a time."""


def check_watchable(channel: Channel) -> None:
    """Raises `ValueError` unless it is a management channel that a device reads."""
    if TABLE[channel].types or Role.DEVICE not in TABLE[channel].readers:
        raise ValueError(f"{channel} is no management channel that a device reads")


class RawInbox:
    """Bodies waiting for `take`, which gets one after another in a task of its own."""

    def __init__(self, channels: frozenset[Channel], take: TakeRaw, waiting_max: int, counters: Counters) -> None:
        self.channels = channels
        self._take = take
        self._counters = counters
        self._waiting: asyncio.Queue[tuple[Channel, bytes]] = asyncio.Queue(waiting_max)
        self._tasks = Keeper("management messages")

    def start(self) -> None:
        """Begins taking."""
        self._tasks.keep("taking them", self._run)

    def put(self, channel: Channel, body: bytes) -> None:
        """Queues a body; drops and counts it when too many wait."""
        try:
            self._waiting.put_nowait((channel, body))
        except asyncio.QueueFull:
            self._counters.raw_dropped += 1

    async def stop(self) -> None:
        """Ends whatever is being taken."""
        await self._tasks.stop()

    async def _run(self) -> None:
        while True:
            channel, body = await self._waiting.get()
            try:
                await self._take(channel, body)
            except Exception:
                _log.exception("a message on %s could not be taken", channel)
