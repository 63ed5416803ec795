"""A child ends when its parent does, even one that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def with_parent(number: signal.Signals | None) -> Callable[[], None] | None:
    """Returns what a child runs before it becomes another program, so that it gets this signal when we end.

    The system counts the end of the *thread* that starts the child: let that be one which lasts. `None` where the child
    is to outlive us, and where the system has no such thing. A program that takes another user's rights loses it.
    """
    if number is None or not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: between fork and exec nothing may need a lock
    parent, wanted = os.getpid(), int(number)

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, wanted, 0, 0, 0)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)

    return before_exec


def end_with(parent: int) -> None:
    """Has this very process killed when its `parent` (the thread that began it) ends: for those of multiprocessing."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)
