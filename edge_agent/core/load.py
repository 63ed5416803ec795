"""How much work this device is asked for, on the time scale of its own inferences."""

from __future__ import annotations

import math

SMOOTHING_SERVICES = 10.0
"""Mean service times over which the load is smoothed: more than the items of one prompt, less than a prompt takes under
load. With 20 a burst of ten times the load was met too late and queues of 32 places overflowed (docs/POLICIES.md)."""


class OfferedLoad:
    """The utilisation it would take to do everything that asks for a place, accepted or not.

    A sum of work, each piece fading with time constant `SMOOTHING_SERVICES` x mean service time, over that constant.
    The scale follows the model: a minute says nothing to a device that takes a minute for one inference, and is an age
    to one that takes a second. Unlike the busy share of time it goes on rising when the queue is full.
    """

    __slots__ = ("_at", "_work_s")

    def __init__(self) -> None:
        self._work_s = 0.0
        self._at = 0.0

    def add(self, now: float, work_s: float | None, service_time_s: float | None) -> None:
        """An item of `work_s` seconds asks for a place. Before any service time is known nothing is counted."""
        if work_s and service_time_s:
            self._fade(now, service_time_s)
            self._work_s += work_s

    def read(self, now: float, service_time_s: float | None) -> float:
        """Returns the load; 0 before a service time is known."""
        if not service_time_s:
            return 0.0
        self._fade(now, service_time_s)
        return self._work_s / (SMOOTHING_SERVICES * service_time_s)

    def _fade(self, now: float, service_time_s: float) -> None:
        if now > self._at:
            self._work_s *= math.exp((self._at - now) / (SMOOTHING_SERVICES * service_time_s))
            self._at = now
