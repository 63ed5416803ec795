"""What the transport has to tell the core of its own accord, from places that cannot wait for the core.

A message that cannot be sent is found out in the middle of sending it, which the core itself has asked for.
"""

from __future__ import annotations

import asyncio

from edge_agent.adapters.mqtt.settings import Counters
from edge_agent.core.events import Event
from edge_agent.ports import EmitEvent

NOTICES_MAX = 256  # as many as requests may be under way; beyond it their own timers end them


class Notices:
    """Hands events on one by one, in a task of its own, from `start` to `stop`."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(NOTICES_MAX)
        self._task: asyncio.Task[None] | None = None

    def start(self, emit: EmitEvent) -> None:
        """Begins handing on."""
        self._task = asyncio.create_task(self._run(emit), name="mqtt notices")

    def put(self, event: Event) -> None:
        """Queues an event; drops and counts it when too many wait."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._counters.notices_dropped += 1

    async def stop(self) -> None:
        """Ends at once, whatever waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self, emit: EmitEvent) -> None:
        while True:
            await emit(await self._waiting.get())
