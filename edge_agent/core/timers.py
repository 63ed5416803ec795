"""One timer for everything: named deadlines, of which the outside sees only the earliest."""

from __future__ import annotations

from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import TypeAlias


class TimerKind(StrEnum):
    """What is done when a deadline comes, and by whom: `Agent` has the list."""

    GOSSIP = "gossip"
    STATUS = "status"
    TWIN = "twin"
    OWED = "owed"
    """An end that was dropped on its way is sent again."""
    REQUEST = "request"
    """No receipt came, or it is time to ask after a queued request."""
    ITEM = "item"
    RESUME = "resume"
    """A restored session has waited long enough for its peers."""
    LAYER = "layer"
    JUDGE = "judge"
    SESSION = "session"


TimerKey: TypeAlias = tuple[TimerKind, str]
"""What a deadline is for: its kind, and the id of what it ends; "" where there is one of the kind."""

NEVER = float("inf")
"""A deadline that does not come."""
_STALE_MAX = 64  # replaced and cleared deadlines left in the heap before it is built anew


class Timers:
    """Deadlines by key, each key at most once. Equal deadlines come due in the order they were set.

    Cleared deadlines stay in the heap until they reach its head or outnumber the live ones, so that clearing, which
    most timers end in, costs no search.
    """

    __slots__ = ("_heap", "_live", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerKey]] = []
        self._live: dict[TimerKey, int] = {}
        self._sequence = 0

    def set(self, key: TimerKey, deadline: float) -> None:
        """Sets or replaces the deadline of `key`."""
        self._sequence += 1
        self._live[key] = self._sequence
        heappush(self._heap, (deadline, self._sequence, key))
        self._drop_stale()

    def clear(self, key: TimerKey) -> None:
        """Forgets `key`; nothing happens if it is not set."""
        if self._live.pop(key, None) is not None:
            self._drop_stale()

    def next_deadline(self) -> float | None:
        """Returns the earliest deadline, `None` if there is none."""
        heap, live = self._heap, self._live
        while heap:
            deadline, sequence, key = heap[0]
            if live.get(key) == sequence:
                return deadline
            heappop(heap)
        return None

    def pop_due(self, now: float) -> TimerKey | None:
        """Removes and returns the key of the earliest deadline at or before `now`, `None` if none is due."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return None
        key = heappop(self._heap)[2]
        del self._live[key]
        return key

    def _drop_stale(self) -> None:
        live = self._live
        if len(self._heap) > 2 * len(live) + _STALE_MAX:
            self._heap = [entry for entry in self._heap if live.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: TimerKey) -> bool:
        return key in self._live
