"""How often each principal may speak: a bucket of messages for each, filled at a steady rate.

What is over it is not looked at, let alone worked on. Its sender is told so a few times a second at most, since telling
costs more than dropping.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from edge_agent.core.shares import ANYBODY

PRINCIPALS_MAX = 1_024  # whose buckets are kept, the least recently heard out: by then theirs is full again
CROWD = 4  # as many principals' worth for all together whom a broker lets in without a name: clients can be invented
TELLS_HZ = 5.0  # a second: enough for a program that waits for it, and a hundredth of what a flood costs otherwise


@final
class MessageRates:
    """Times are any monotonic clock's, in seconds.

    rate_hz: messages a second of one principal. burst: and so many at once, after silence.
    """

    __slots__ = ("_buckets", "_burst", "_rate_hz", "_tells")

    def __init__(self, rate_hz: float, burst: int) -> None:
        self._rate_hz = rate_hz
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was
        self._tells: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, principal: str, client: str, now: float) -> bool:
        """Returns whether one more message of a principal is taken; `client` counts where the principal is anybody."""
        if principal != ANYBODY:
            return self._take(self._buckets, principal, self._rate_hz, self._burst, now)
        return self._take(self._buckets, f"{ANYBODY}/{client}", self._rate_hz, self._burst, now) and self._take(
            self._buckets, ANYBODY, CROWD * self._rate_hz, CROWD * self._burst, now
        )

    def tells(self, principal: str, now: float) -> bool:
        """Returns whether a principal is told that it is over its rate, this time."""
        return self._take(self._tells, principal, TELLS_HZ, TELLS_HZ, now)

    def __len__(self) -> int:
        """The buckets that are kept."""
        return max(len(self._buckets), len(self._tells))

    def _take(
        self, buckets: OrderedDict[str, tuple[float, float]], name: str, rate_hz: float, burst: float, now: float
    ) -> bool:
        left, at = buckets.pop(name, (burst, now))
        left = min(burst, left + (now - at) * rate_hz)
        taken = left >= 1.0
        buckets[name] = (left - 1.0 if taken else left, now)
        if len(buckets) > PRINCIPALS_MAX:
            buckets.popitem(last=False)
        return taken
