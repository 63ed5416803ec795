"""Points whose time cannot be right are left out of a report, and said: a clock was wrong when they were measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import final

from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS, EARLIEST_NS, say_span
from edge_agent.lab.simulator.load.telemetry import MESH as SIMULATED_MESH
from edge_agent.wire.line_protocol import Point

HELD_MAX = 500_000
"""Points from before 2020 that are held until one from after it is seen: weeks of a device that never knew the time."""


@final
class TimeFilter:
    """Lets points pass whose time this machine takes for possible, and counts the others.

    A single point of next month would make a report's last hour empty, and one of 1970 its time over fifty years long.
    Simulated meshes have a clock of their own and pass; where every point is from before 2020, all do.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = wall_ns()
        self._ahead: dict[str, list[int]] = {}
        self._unset: dict[str, int] = {}
        self._held: list[Point] = []

    def passed(self, points: Iterable[Point]) -> Iterator[Point]:
        """Yields the points that may be right."""
        latest_ns = self._now_ns + AHEAD_MAX_NS
        passed = False
        for point in points:
            if EARLIEST_NS <= point.time_ns <= latest_ns or point.tags.get("mesh") == SIMULATED_MESH:
                passed = True
                yield point
                continue
            device = point.tags.get("device_id", "?")
            if point.time_ns > latest_ns:
                of_device = self._ahead.setdefault(device, [0, 0])
                of_device[0] += 1
                of_device[1] = max(of_device[1], point.time_ns)
            else:
                self._unset[device] = self._unset.get(device, 0) + 1
                if not passed and len(self._held) < HELD_MAX:
                    self._held.append(point)
        if not passed:
            yield from self._held
            self._unset.clear()
        self._held.clear()

    def notes(self) -> list[str]:
        """Returns a line for each device that had points left out; complete once all have passed."""
        notes = [
            f"left out {count} points of {device} that are up to {say_span(newest_ns - self._now_ns)} ahead of this "
            "machine's clock: one of the two clocks was wrong"
            for device, (count, newest_ns) in sorted(self._ahead.items())
        ]
        return notes + [
            f"left out {count} points of {device} from before 2020: its clock had not been set"
            for device, count in sorted(self._unset.items())
        ]
