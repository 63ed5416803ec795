"""How a process ended, in words."""

from __future__ import annotations

import signal


def how_it_ended(status: int | None, last_words: str = "") -> str:
    """Returns what stands after its name: `status` is its exit status, or the negative number of a signal."""
    how = f"was killed by {_name_of(-status)}" if status is not None and status < 0 else f"ended with status {status}"
    return how + (f": {last_words}" if last_words else "")


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
