"""A clock that several inferences share: it goes as fast as each of them gets on.

With n of them it gains speed-up(n) / n seconds in a second. An inference that begins at its time v and takes w seconds
alone is done at v + w, whoever joins or leaves meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Iterator
from itertools import count

from edge_agent.speed_up import SpeedUp


class SharedClock:
    """Use it on one event loop."""

    def __init__(self, speed_up: SpeedUp) -> None:
        self._speed_up = speed_up
        self._running = 0
        self._time = 0.0
        self._at = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._wake: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def joined(self) -> Iterator[float]:
        """One more runs in the block; gives the clock's time at its beginning."""
        self._change(+1)
        try:
            yield self._time
        finally:
            self._change(-1)

    async def reach(self, time: float) -> None:
        """Returns when the clock shows `time`."""
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (time, next(self._numbers), arrived))
        self._set_alarm()
        await arrived

    def _change(self, by: int) -> None:
        self._advance()
        self._running += by
        self._set_alarm()

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._running:
            self._time += (now - self._at) * self._speed_up.share(self._running)
        self._at = now

    def _set_alarm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        while self._waiting and self._waiting[0][2].done():  # cancelled
            heapq.heappop(self._waiting)
        if self._waiting and self._running:
            delay_s = (self._waiting[0][0] - self._time) / self._speed_up.share(self._running)
            self._wake = asyncio.get_running_loop().call_at(self._at + delay_s, self._ring)

    def _ring(self) -> None:
        self._advance()
        while self._waiting and (self._waiting[0][0] <= self._time + _ROUNDING_S or self._waiting[0][2].done()):
            arrived = heapq.heappop(self._waiting)[2]
            if not arrived.done():
                arrived.set_result(None)
        self._set_alarm()


_ROUNDING_S = 1e-9  # an alarm set for a moment may ring a rounding error before it
