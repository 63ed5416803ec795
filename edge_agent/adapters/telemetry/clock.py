"""The time of points: every point of a device has a whole millisecond of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import final

STEP_NS = 1_000_000
"""A millisecond. VictoriaMetrics keeps no finer time, and takes two points at one time for one."""
AHEAD_MAX_NS = 3600 * 10**9
"""How far the newest point on disk may be ahead of the clock and still be gone on from after a restart. Further ahead,
the clock was wrong when it was written (a Pi has none of its own), and going on would repeat the error for ever."""


@final
class PointClock:
    """Gives out times in nanoseconds since 1970, strictly increasing, each a whole number of milliseconds.

    Follows the wall clock. When that is set back, time goes on at the pace of the monotonic clock, so that it never
    runs backwards. A burst of over 1000 points a second runs ahead until it is over. For any thread.

    Args:
        last_ns: the newest point on disk, 0 if there is none; what comes is later, also after a restart.
    """

    def __init__(self, last_ns: int, wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()  # held for two clock readings
        self._last_monotonic_ns = monotonic_ns()
        self._last_given_ns = last_ns if last_ns - wall_ns() <= AHEAD_MAX_NS else 0
        self._reading_ns = self._last_given_ns

    def next_ns(self) -> int:
        """Returns a time that no other point has."""
        with self._lock:
            monotonic_ns = self._monotonic_ns()
            passed_ns, self._last_monotonic_ns = monotonic_ns - self._last_monotonic_ns, monotonic_ns
            self._reading_ns = max(self._wall_ns(), self._reading_ns + passed_ns if self._reading_ns else 0)
            self._last_given_ns = max(self._reading_ns // STEP_NS * STEP_NS, self._last_given_ns + STEP_NS)
            return self._last_given_ns
