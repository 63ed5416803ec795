"""The time of points: every point of a device has a whole millisecond of its own, as the wall clock says it.

A small device has often no clock of its own: it wakes in the past, and is set right, or wrong, while it runs. A step of
the wall clock shows against a clock that nobody sets.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

STEP_NS = 1_000_000
"""A millisecond. VictoriaMetrics keeps no finer time, and takes two points at one time for one."""
AHEAD_MAX_NS = 3600 * 10**9
"""How far times may be ahead of the clock. Up to here, time goes slowly until the clock has caught up; further ahead
the clock was wrong (a Pi has none of its own), and going on from there would keep it wrong for ever."""
EARLIEST_NS = 1_577_836_800 * 10**9
"""1 January 2020: before this program was. A clock that says less has not been set."""
TOLD_NS = 60 * 10**9
"""Steps below this are told to nobody: a time server sets a clock by less every day."""
REMEMBERED_MAX = 65_536
"""Times that are remembered, so that none is given twice after the clock was set back: a day or more, 512 KiB."""
_S = 10**9


@final
@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock was set, while this device ran or before it started.

    by_ns: how far; negative is back. followed: later points have the new time at once. ahead: how many points that were
    given before are now in the future, as far as this process knows, and newest_ns the last of them.
    """

    by_ns: int
    followed: bool
    ahead: int
    newest_ns: int

    def __str__(self) -> str:
        if self.by_ns > 0:
            return (
                f"this device's clock was set ahead by {say_span(self.by_ns)}, and telemetry follows it; "
                "points from before keep their times. If it is wrong now, set it (`timedatectl`)"
            )
        back = f"this device's clock was set back by {say_span(-self.by_ns)}"
        if not self.followed:
            return f"{back}: telemetry's time runs at half speed until the clock has caught up"
        return (
            f"{back}, and telemetry follows it; {self.ahead} points from before are in the future, "
            f"up to {say_time(self.newest_ns)}: they are not sent to databases any more"
        )


@final
class PointClock:
    """Gives out times in nanoseconds since 1970, each a whole number of milliseconds, none twice. For any thread.

    Follows the wall clock ahead. When that is set back by up to `AHEAD_MAX_NS`, time goes on at half the pace of the
    monotonic clock until the wall clock has caught up, so that it does not run backwards; by more, it follows at once.
    A burst of over 1000 points a second runs ahead until it is over.

    Args:
        recent_ns: of the newest points on disk, in the order of writing. What comes is later than the last of them,
            unless that is too far ahead.
        wall_ns: nanoseconds since 1970. monotonic_ns: of a clock that nobody sets.
        on_step: told of a step of more than `TOLD_NS`; called by whoever asks for a time, and must not ask for one.
    """

    def __init__(
        self,
        recent_ns: list[int],
        wall_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        on_step: Callable[[ClockStep], None] = lambda step: None,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._on_step = on_step
        self._lock = threading.Lock()  # held for two clock readings
        self._last_monotonic_ns = monotonic_ns()
        self._last_wall_ns = wall_ns()
        self._earlier = [array("q", sorted(time_ns // STEP_NS for time_ns in recent_ns))] if recent_ns else []
        """Times given before the clock was set back, or on disk; each stretch in order. Milliseconds since 1970."""
        self._given = array("q")
        self._last_given_ns = self._reading_ns = recent_ns[-1] if recent_ns else 0
        if self._last_given_ns - self._last_wall_ns > AHEAD_MAX_NS:
            self._follow_back(self._last_wall_ns, self._last_wall_ns - self._last_given_ns)

    def next_ns(self) -> int:
        """Returns a time that no other point has."""
        with self._lock:
            monotonic_ns, wall_ns = self._monotonic_ns(), self._wall_ns()
            passed_ns = monotonic_ns - self._last_monotonic_ns
            step_ns = wall_ns - self._last_wall_ns - passed_ns
            self._last_monotonic_ns, self._last_wall_ns = monotonic_ns, wall_ns
            if self._reading_ns - wall_ns > AHEAD_MAX_NS:
                self._follow_back(wall_ns, step_ns)
            else:
                if abs(step_ns) > TOLD_NS:
                    self._on_step(ClockStep(step_ns, step_ns > 0, 0, 0))
                self._reading_ns = max(wall_ns, self._reading_ns + passed_ns // 2 if self._reading_ns else 0)
            given_ns = max(self._reading_ns // STEP_NS * STEP_NS, self._last_given_ns + STEP_NS)
            while self._earlier and self._is_taken(given_ns // STEP_NS):
                given_ns += STEP_NS
            self._last_given_ns = given_ns
            self._remember(given_ns // STEP_NS)
            return given_ns

    def _follow_back(self, wall_ns: int, step_ns: int) -> None:
        self._earlier.append(self._given)
        ahead = sum(len(times) - bisect_right(times, wall_ns // STEP_NS) for times in self._earlier)
        newest_ns = max(times[-1] for times in self._earlier if times) * STEP_NS
        self._given = array("q")
        self._reading_ns, self._last_given_ns = wall_ns, 0
        self._on_step(ClockStep(step_ns, True, ahead, newest_ns))

    def _is_taken(self, time_ms: int) -> bool:
        for times in self._earlier:
            at = bisect_left(times, time_ms)
            if at < len(times) and times[at] == time_ms:
                return True
        return False

    def _remember(self, time_ms: int) -> None:
        self._given.append(time_ms)
        if len(self._given) + sum(map(len, self._earlier)) > REMEMBERED_MAX:
            oldest = self._earlier[0] if self._earlier else self._given
            del oldest[: max(1, len(oldest) // 2)]
            self._earlier = [times for times in self._earlier if times]


def elapsed_ns() -> int:
    """Returns the time of a clock that nobody sets and that goes on while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux; elsewhere the time asleep looks like a step of the wall clock
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


def say_span(span_ns: int) -> str:
    """Returns a length of time for people: "20.0 days", "3.5 h", "12 min", "40 s"."""
    seconds = span_ns / _S
    for unit, length in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def say_time(time_ns: int) -> str:
    """Returns a point's time for people, in UTC; also of times that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ns // _S))
    except (OverflowError, ValueError, OSError):
        return f"{time_ns // _S} s after 1970"
