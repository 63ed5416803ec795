"""A side channel for the mesh's management: bodies that this transport carries and does not read.

Jobs, certificates and revocations share the device's one connection but not its queue of events: taking one may be
slow, and prompts must not wait for it. Each channel has places of its own, and in each its senders share them: whoever
floods one keeps neither another channel's bodies out nor another sender's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.topics import TABLE, Channel, Role

_log = logging.getLogger(__name__)

TakeRaw = Callable[[Channel, bytes], Awaitable[None]]
"""Takes one body at a time."""


def check_watchable(channel: Channel) -> None:
    """Raises `ValueError` unless it is a management channel that a device reads."""
    if TABLE[channel].types or Role.DEVICE not in TABLE[channel].readers:
        raise ValueError(f"{channel} is not a management channel that a device reads")


@dataclass(frozen=True, slots=True, eq=False)  # two alike are two
class _Body:
    channel: Channel
    sender: str
    content: bytes


class RawInbox:
    """Bodies waiting for `take`, which gets one after another, in the order of their arrival, in a task of its own."""

    def __init__(
        self, channels: frozenset[Channel], take: TakeRaw, settings: MqttSettings, counters: MqttCounters
    ) -> None:
        self.channels = channels
        self._take = take
        self._settings = settings
        self._counters = counters
        self._waiting: deque[_Body] = deque()
        self._arrived = asyncio.Event()
        self._tasks = TaskSupervisor("management messages")

    def start(self) -> None:
        """Begins taking."""
        self._tasks.keep("taking them", self._run)

    def put(self, channel: Channel, sender: str, body: bytes) -> None:
        """Queues a body; while too much of its channel waits, drops and counts the newest of whoever has most there.

        sender: who wrote it, "" where the channel names nobody.
        """
        new = _Body(channel, sender, body)
        self._waiting.append(new)
        while (weight := self._too_much(channel)) is not None:
            of_sender: Counter[str] = Counter()
            for one in self._of(channel):
                of_sender[one.sender] += weight(one)
            most = max(of_sender.values())
            # where others have as much, the new one goes: what is there came first
            who = sender if of_sender[sender] == most else max(of_sender, key=lambda name: of_sender[name])
            self._waiting.remove(next(one for one in reversed(self._of(channel)) if one.sender == who))
            self._counters.raw_dropped += 1
        self._arrived.set()

    async def stop(self) -> None:
        """Ends whatever is being taken."""
        await self._tasks.stop()

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            body = self._waiting.popleft()
            try:
                await self._take(body.channel, body.content)
            except Exception:
                _log.exception("a message on %s could not be processed", body.channel)

    def _of(self, channel: Channel) -> list[_Body]:
        return [one for one in self._waiting if one.channel is channel]

    def _too_much(self, channel: Channel) -> Callable[[_Body], int] | None:
        """Returns by what to weigh who has most, `None` if there is room."""
        waiting = self._of(channel)
        if len(waiting) > self._settings.raw_max:
            return lambda one: 1
        if sum(len(one.content) for one in waiting) > self._settings.raw_bytes_max:
            return lambda one: len(one.content)
        return None
