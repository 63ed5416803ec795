"""How newer and older are told apart in what is said of a device: by its (incarnation, heartbeat).

An incarnation is the time of a start in seconds, or one more than the last where the clock stood behind. The numbers go
round, as those of TCP and DNS do (RFC 1982): beyond the highest comes 0, and of two the newer is the one that is less
than half a round ahead. So there is none that could not be outdone, whatever somebody says of a device; were there a
highest number, whoever said it first would have the last word.
"""

from __future__ import annotations

INCARNATION_MAX = 2**53 - 1
"""The one bound, on the wire and here: the largest number that every JSON reader holds exactly."""

_ROUND = INCARNATION_MAX + 1

Age = tuple[int, int]
"""(incarnation, heartbeat)."""


def is_newer(one: Age, other: Age) -> bool:
    """Whether `one` was said later than `other`. Exactly half a round apart each is newer: who is there speaks last."""
    if one[0] == other[0]:
        return one[1] > other[1]
    return (one[0] - other[0]) % _ROUND <= _ROUND // 2


def next_incarnation(incarnation: int) -> int:
    """Returns the one that outdoes this one."""
    return (incarnation + 1) % _ROUND
