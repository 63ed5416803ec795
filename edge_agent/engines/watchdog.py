"""Whether a process that owes something hangs: looked at only once it has been silent for a while."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import final

from edge_agent.hangs import LOOK_S, HangDetector

UNWATCHED_SHARE = 0.3  # of the time without a sign of life nobody looks what it does: signs come with every token


@final
class Watchdog:
    """Watches one process. Use it on the event loop; `stop` it in the end.

    stall_timeout_s: without a sign of life for so long, and doing nothing, it hangs. One that computes has its time:
        what is waited for has deadlines of its own.
    on_hang: told how it hangs, to go on after its name; then nothing more is watched.
    """

    def __init__(self, pid: int, stall_timeout_s: float, on_hang: Callable[[str], None]) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._pid = pid
        self._on_hang = on_hang
        self._owed = 0
        self._timer: asyncio.TimerHandle | None = None

    def owed(self) -> None:
        """One more thing is owed."""
        self._owed += 1
        if self._owed == 1:  # one that owes already has its time running
            self.heard()

    def paid(self) -> None:
        """One thing less is owed."""
        self._owed -= 1
        self.heard()

    def heard(self) -> None:
        """It gave a sign of life."""
        self.stop()
        if self._owed:
            quiet_s = UNWATCHED_SHARE * self.stall_timeout_s
            self._timer = asyncio.get_running_loop().call_later(quiet_s, self._watch)

    def stop(self) -> None:
        """Watches no more, until something else is owed or heard."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        still_max_s = (1.0 - UNWATCHED_SHARE) * self.stall_timeout_s
        self._look(HangDetector(lambda: [self._pid], still_max_s, computed_max_s=math.inf))

    def _look(self, detector: HangDetector) -> None:
        if how := detector.look():
            self._timer = None
            self._on_hang(how)
        else:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look, detector)
