"""One try after another to connect to one home: which address is next, and after what pause.

A home may have several addresses, the nodes of a cluster: each new try goes to the next one, and none is preferred.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Self, final

from edge_agent.mqtt.urls import BrokerUrl
from edge_agent.tasks import within

_DOUBLED_MAX = 32  # times: beyond any pause that settings may name


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """The pauses between two tries, in seconds.

    min_s: the first one. It doubles with each round of the addresses, not with each try: one that is dead must not keep
        anybody from those that live.
    max_s: the longest. slow_max_s: the longest where only somebody can mend what is wrong.
    least: the part of a pause that is always waited. The rest is chance: after a broker's restart all its clients come
        back, and should not come back at once.
    before: tries that count as failed before the first one.
    """

    min_s: float
    max_s: float
    slow_max_s: float
    least: float = 0.0
    before: int = 0


@final
class Tries:
    """Yields the address of each try, until `stop`: `async for url in tries`. Make it anywhere, use it on one loop."""

    def __init__(self, home: tuple[BrokerUrl, ...], pace: Pace, rng: random.Random) -> None:
        self.slow = False
        """Whether what is wrong is for somebody to mend: set it before the next try."""
        self.stopping = asyncio.Event()
        self._home = home
        self._pace = pace
        self._rng = rng
        self._at = rng.randrange(len(home))  # clients spread over the nodes of a cluster
        self._begun = self._repeated = False
        self._failed = 0  # tries since the first, or since a connection that counts
        self._not_before = 0.0

    @property
    def url(self) -> BrokerUrl:
        """The address that is connected, or tried next."""
        return self._home[self._at]

    @property
    def stopped(self) -> bool:
        """Whether this try is the last one."""
        return self.stopping.is_set()

    def stop(self) -> None:
        """Ends a pause under way, and has no other try follow."""
        self.stopping.set()

    def well(self) -> None:
        """The connection of this try is one that counts: the next pause is the first one again."""
        self._failed = 0

    def repeat(self) -> None:
        """Has the next try go to the same address, at once."""
        self._repeated = True

    def wait_for(self, pause_s: float) -> None:
        """Has the next try begin no sooner than so many seconds from now."""
        self._not_before = asyncio.get_running_loop().time() + pause_s

    def __aiter__(self) -> Self:
        self._begun, self._failed = False, self._pace.before
        return self

    async def __anext__(self) -> BrokerUrl:
        if self._begun and not self._repeated:
            self._at = (self._at + 1) % len(self._home)
            await self._pause()
            self._failed += 1
        self._begun, self._repeated = True, False
        if self.stopped:
            raise StopAsyncIteration
        return self.url

    async def _pause(self) -> None:
        pace = self._pace
        most_s = pace.slow_max_s if self.slow else pace.max_s
        longest_s = min(most_s, pace.min_s * 2 ** min(self._failed // len(self._home), _DOUBLED_MAX))
        waited_s = self._not_before - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await within(self.stopping.wait(), max(waited_s, self._rng.uniform(pace.least * longest_s, longest_s)))
