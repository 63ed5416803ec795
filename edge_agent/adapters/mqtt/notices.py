"""What the transport has to tell the core of its own accord, from places that cannot wait for the core.

A message that cannot be sent is found out in the middle of sending it, which the core itself has asked for.
"""

from __future__ import annotations

import asyncio
import contextlib

from edge_agent.adapters.mqtt.settings import MqttCounters
from edge_agent.core.events import Event
from edge_agent.ports import EmitEvent
from edge_agent.tasks import within

NOTICES_MAX = 1024  # more than requests and answers may be under way: 32 sessions of 17, and 64
LAST_S = 2.0  # for whoever takes notices to come round once more


class Notices:
    """Hands events on one by one, in a task of its own, from `start` to `stop`."""

    def __init__(self, counters: MqttCounters) -> None:
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
        """Hands on what waits, as far as it is taken within `LAST_S`, and ends."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await within(self._waiting.join(), LAST_S)
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self, emit: EmitEvent) -> None:
        while True:
            await emit(await self._waiting.get())
            self._waiting.task_done()
