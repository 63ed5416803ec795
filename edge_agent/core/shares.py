"""Who may hold how much of what all want: places, bytes and work, for each principal its share.

A principal is whom the broker has let in: a device, a user, a gateway's API key. A share binds only where others may
want in:

- up to its share a principal comes in while there is room at all, and its first thing always does;
- beyond that only while a reserve, as large as a share, stays free for others. So one alone uses most of the capacity,
  and never so much that another finds the door shut;
- who holds more than its share, or was refused more, is over it until it is down to half of it. Whoever serves the line
  lets others pass it (`is_over`), or a hundred prompts of one would stand before the one of another.

With a share of 1 there are no shares: first come, first served, to the last place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

ANYBODY = "me"
"""Who somebody says to be whom a broker lets in without a name. All of them would be one, so each client counts for
itself; and since clients can be invented, all together never take the reserve."""
_YIELDING = "~"


class Shortage(StrEnum):
    """Why there is no room."""

    FULL = "full"
    SHARE = "share"


def device_holder(device_id: str, *, yields: bool = False) -> str:
    """Returns under which name a device's requests are counted; those that yield for themselves: they have no share
    but for the first, and take none of what its other users may have."""
    return device_id + _YIELDING if yields else device_id


def user_holder(principal: str, client: str) -> str:
    """Returns under which name a user's prompts are counted. No id holds a slash: none is taken for a device."""
    return f"{principal}/{client if principal == ANYBODY else ''}"


@final
class Shares:
    """Counts what each holder has of `places`, `size` (bytes) and `work` (tokens), in whole numbers.

    share: of each, above 0 and at most 1.
    """

    __slots__ = ("_anybody", "_half", "_held", "_most", "_over", "_share", "_total", "used")

    def __init__(self, share: float, places: int, size: int = 1, work: int = 1) -> None:
        own = [max(1, int(most * share)) for most in (places, size, work)]
        self._total = (places, size, work)
        self._share = (own[0], own[1], own[2])
        self._half = (own[0] // 2, own[1] // 2, own[2] // 2)
        # what those may take who are over their share: all but the reserve
        self._most = (max(own[0], places - own[0]), max(own[1], size - own[1]), max(own[2], work - own[2]))
        self._held: dict[str, tuple[int, int, int]] = {}
        self._anybody = (0, 0, 0)
        self._over: dict[str, None] = {}
        self.used = (0, 0, 0)
        """Places, bytes and work that are taken."""

    @property
    def places(self) -> int:
        """Places in all."""
        return self._total[0]

    @property
    def turns(self) -> int:
        """While others wait, those over their share have one turn in so many: half a share of the work."""
        whole = round(self._total[0] / self._share[0])
        return 1 if whole <= 1 else 2 * whole

    @property
    def has_over(self) -> bool:
        """Whether anybody is over its share."""
        return bool(self._over)

    def is_over(self, holder: str) -> bool:
        """Whether others may pass this one."""
        return holder in self._over or holder.endswith(_YIELDING)

    def crowds(self, holder: str) -> bool:
        """Whether a user has so much here that what is asked of other devices for it shall yield there: they know this
        device alone, and what one of its users has would be missing to the others."""
        if holder in self._over:
            return True
        if _fits(self._held.get(holder, _NOTHING), self._half):
            return False
        return any("/" in other and other != holder for other in self._held)

    def holds(self, holder: str) -> int:
        """Returns the places that a holder has."""
        return self._held.get(holder, _NOTHING)[0]

    def shortage(self, holder: str, size: int = 0, work: int = 0) -> Shortage | None:
        """Returns why a holder may not have one more place with so many bytes and so much work, `None` if it may.

        Who is refused for its share is over it from now on.
        """
        want = (1, size, work)
        after = _add(self.used, want)
        total = self._total
        if after[0] > total[0] or after[1] > total[1] or (after[2] > total[2] and self.used[2]):
            return Shortage.FULL  # (a single thing of more work than all may have would never find room)
        if _fits(after, self._most):
            return None
        held = self._held.get(holder)
        within = held is None or (not holder.endswith(_YIELDING) and _fits(_add(held, want), self._share))
        if within and not (is_anybody(holder) and not _fits(_add(self._anybody, want), self._most)):
            return None
        if held is not None:
            self._over[holder] = None
        return Shortage.SHARE

    def take(self, holder: str, size: int = 0, work: int = 0) -> None:
        """Gives a holder a place. The caller has asked `shortage`, or knows better."""
        want = (1, size, work)
        held = self._held[holder] = _add(self._held.get(holder, _NOTHING), want)
        self.used = _add(self.used, want)
        if is_anybody(holder):
            self._anybody = _add(self._anybody, want)
        if holder.endswith(_YIELDING) or not _fits(held, self._share):
            self._over[holder] = None

    def give_back(self, holder: str, size: int = 0, work: int = 0) -> None:
        """Takes a place from a holder, as it was given."""
        back = (-1, -size, -work)
        held = self._held[holder] = _add(self._held[holder], back)
        self.used = _add(self.used, back)
        if is_anybody(holder):
            self._anybody = _add(self._anybody, back)
        if held[0] == 0:
            del self._held[holder]
        if held[0] == 0 or (not holder.endswith(_YIELDING) and _fits(held, self._half)):
            self._over.pop(holder, None)

    def contradiction(self) -> str:
        """Returns what is miscounted, "" if nothing is."""
        total, idle, unmarked = _NOTHING, False, False
        for holder, held in self._held.items():
            total = _add(total, held)
            idle |= held[0] < 1
            unmarked |= held[0] > self._share[0] and holder not in self._over
        if total != self.used:
            names = ("places", "bytes", "work")
            wrong = [name for name, used, held in zip(names, self.used, total, strict=True) if used != held]
            return f"held {wrong[0]} are miscounted"
        if idle:
            return "somebody is remembered who holds nothing"
        if self._over and not self._over.keys() <= self._held.keys():
            return "somebody is over its share who holds nothing"
        return "somebody holds more than its share and is not over it" if unmarked else ""


_NOTHING = (0, 0, 0)


def _add(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _fits(amount: tuple[int, int, int], bound: tuple[int, int, int]) -> bool:
    return amount[0] <= bound[0] and amount[1] <= bound[1] and amount[2] <= bound[2]


def is_anybody(holder: str) -> bool:
    """Whether a holder is a client of whom the broker knows no name."""
    return holder.startswith(f"{ANYBODY}/")
