"""Whose kept answers go where all of them are too many: theirs who keep most, so that nobody pushes out another's.

Asked by the core for what it holds and by the journal for what is on disk, so that a restart finds what was promised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from edge_agent.core.shares import is_anybody

Row: TypeAlias = tuple[int, str, int, bool]
"""A kept answer on disk: its number, its holder, its bytes, and whether it was delivered."""


def greatest(held: Mapping[str, int], can_give: Callable[[str], bool]) -> str:
    """Returns who keeps most of those that can give something, of equals who stands first; "" if nobody can.

    Clients without a name can be invented, so all of them count as one, and the greatest among them has to give.
    """
    named, crowd = "", ""
    named_most, crowd_most, crowd_bytes = -1, -1, 0
    for holder, size in held.items():
        if is_anybody(holder):
            crowd_bytes += size
            if size > crowd_most and can_give(holder):
                crowd, crowd_most = holder, size
        elif size > named_most and can_give(holder):
            named, named_most = holder, size
    return crowd if crowd and crowd_bytes > named_most else named


def crowded_out(rows: Iterable[Row], bytes_max: int) -> list[int]:
    """Returns the numbers of the rows that must go for the others to be within `bytes_max`. Rows come oldest first.

    Of who keeps most and has any, the oldest delivered goes; without any, the oldest that is owed of who keeps most.
    The newest row stays, however large it is.
    """
    held: dict[str, int] = {}
    delivered: dict[str, deque[Row]] = {}
    owed: dict[str, deque[Row]] = {}
    newest = None
    for row in rows:
        newest = row
        held[row[1]] = held.get(row[1], 0) + row[2]
        (delivered if row[3] else owed).setdefault(row[1], deque()).append(row)
    gone: list[int] = []
    over = sum(held.values()) - bytes_max
    for lines in (delivered, owed):
        for number, size in _taken(lines, held, newest):
            if over <= 0:
                return gone
            gone.append(number)
            over -= size
    return gone


def _taken(lines: Mapping[str, deque[Row]], held: dict[str, int], newest: Row | None) -> Iterator[tuple[int, int]]:
    """Yields the numbers and sizes of the rows of these lines in the order in which they go."""

    def can_give(holder: str) -> bool:
        line = lines.get(holder, deque())
        return bool(line) and line[0] is not newest  # the newest stands last: first only where it is alone

    while holder := greatest(held, can_give):
        number, _, size, _ = lines[holder].popleft()
        held[holder] -= size
        yield number, size
