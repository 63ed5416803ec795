"""The ends that are kept: found by key, by whose they are in the order in which they came, and by their prompt's id.

Whoever asks for its own newest ones looks at those alone, and whoever keeps most gives first where they are too many.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import merge
from typing import TypeAlias

from edge_agent.core.crowding import greatest
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import Answer
from edge_agent.core.shares import is_anybody

_NEVER = float("inf")


class EndState(StrEnum):
    """Where an end stands."""

    WRITING = "writing"
    OWED = "owed"
    SENDING = "sending"
    DELIVERED = "delivered"


@dataclass(slots=True, eq=False)
class End:
    """How a prompt ended, and how far that got."""

    key: str
    answer: Answer
    reply: ReplyRoute
    accepted_at: float
    ended_at: float
    kept_at: float
    size: int
    state: EndState
    kept: bool
    """Whether the journal has it. If not, a restart would work on its prompt again, and tell another end."""

    @property
    def is_written(self) -> bool:
        """Whether the journal has done what it can: only then may anybody be told."""
        return self.state is not EndState.WRITING

    @property
    def place(self) -> tuple[float, str, str]:
        """Where it stands among its holder's: no two stand in one place."""
        return (self.ended_at, self.reply.client, self.answer.prompt_id)


_Placed: TypeAlias = tuple[float, str, str, End]


@dataclass(slots=True)
class _Shelf:
    """What one holder has, each line with the oldest first; what ended before `whole_since` may be forgotten."""

    whole_since: float
    open: list[_Placed] = field(default_factory=list)
    delivered: list[_Placed] = field(default_factory=list)

    def line(self, state: EndState) -> list[_Placed]:
        return self.delivered if state is EndState.DELIVERED else self.open

    def insert(self, end: End) -> None:
        insort(self.line(end.state), (*end.place, end))

    def remove(self, end: End) -> None:
        line = self.line(end.state)
        del line[bisect_left(line, end.place)]  # a place stands before what is in it


class Kept:
    """Ends, in the lines of those that no broker has taken yet and of those that are delivered, the oldest first."""

    __slots__ = (
        *("_crowd_open_bytes", "_crowd_whole_since", "_held", "_of_id", "_shelves", "_whole_since"),
        *("bytes", "delivered", "open", "open_bytes"),
    )

    def __init__(self) -> None:
        self.open: OrderedDict[str, End] = OrderedDict()
        self.delivered: OrderedDict[str, End] = OrderedDict()
        self.bytes = 0
        self.open_bytes = 0
        self._crowd_open_bytes = 0  # of all together who have no name
        self._held: dict[str, int] = {}  # bytes by holder
        self._shelves: dict[str, _Shelf] = {}
        self._of_id: dict[tuple[str, str], dict[str, End]] = {}
        self._whole_since = -_NEVER  # of those who have nothing here
        self._crowd_whole_since = -_NEVER  # of all together who have no name

    def __len__(self) -> int:
        """The number of ends."""
        return len(self.open) + len(self.delivered)

    def get(self, key: str) -> End | None:
        """Returns the end of a prompt, told or not."""
        return self.open.get(key) or self.delivered.get(key)

    def put(self, end: End) -> None:
        """Takes one in. There is none of its key."""
        holder = end.reply.holder
        if holder not in self._shelves:
            self._shelves[holder] = _Shelf(self._whole_since)
        self._shelves[holder].insert(end)
        self._line(end.state)[end.key] = end
        self._of_id.setdefault((end.reply.principal, end.answer.prompt_id), {})[end.key] = end
        self._count(end, end.size)

    def move(self, end: End, state: EndState) -> None:
        """An end is delivered, or is not any more: then it is the first of those to be told."""
        shelf = self._shelves[end.reply.holder]
        shelf.remove(end)
        del self._line(end.state)[end.key]
        self._count(end, -end.size)
        end.state = state
        self._count(end, end.size)
        shelf.insert(end)
        line = self._line(state)
        line[end.key] = end
        if line is self.open:
            line.move_to_end(end.key, last=False)

    def resize(self, end: End, size: int) -> None:
        """An end has become shorter."""
        self._count(end, size - end.size)
        end.size = size

    def remove(self, end: End) -> None:
        """Lets go of an end that is replaced."""
        holder = end.reply.holder
        shelf = self._shelves[holder]
        shelf.remove(end)
        del self._line(end.state)[end.key]
        same_id = self._of_id[end.reply.principal, end.answer.prompt_id]
        del same_id[end.key]
        if not same_id:
            del self._of_id[end.reply.principal, end.answer.prompt_id]
        self._count(end, -end.size)
        if not shelf.open and not shelf.delivered:  # nobody is remembered for having had something
            self._whole_since = max(self._whole_since, shelf.whole_since)
            del self._shelves[holder], self._held[holder]

    def forget(self, end: End) -> None:
        """Lets go of an end for good: its holder is told that from here on back something may be missing."""
        holder = end.reply.holder
        shelf = self._shelves[holder]
        shelf.whole_since = max(shelf.whole_since, end.ended_at)
        if is_anybody(holder):
            self._crowd_whole_since = max(self._crowd_whole_since, end.ended_at)
        self.remove(end)

    def next_to_go(self, spare: End) -> End | None:
        """Returns the end that goes if they are too many: of who keeps most and has any, the oldest delivered; without
        any, the oldest of who keeps most. `spare` stays: it is the newest, and still to be told."""
        for state in (EndState.DELIVERED, EndState.OWED):
            found = self._oldest(state, spare)
            if found is not None:
                return found
        return None

    def owes(self, holder: str) -> bool:
        """Whether a holder has ends that no broker has taken yet; all who have no name are one here."""
        if is_anybody(holder):
            return self._crowd_open_bytes > 0
        shelf = self._shelves.get(holder)
        return shelf is not None and bool(shelf.open)

    def newest(self, holder: str, behind: tuple[float] | tuple[float, str, str]) -> Iterator[End]:
        """Yields a holder's ends, the newest first, from the first that stands before a place or time."""
        shelf = self._shelves.get(holder)
        if shelf is None:
            return
        lines = (_backwards(line, behind) for line in (shelf.open, shelf.delivered))
        for placed in merge(*lines, reverse=True):
            yield placed[3]

    def of_id(self, principal: str, prompt_id: str) -> Iterable[End]:
        """Returns the ends of this user's prompts of one id, of all its clients."""
        return self._of_id.get((principal, prompt_id), {}).values()

    def restored(self, now: float) -> None:
        """All that a journal kept is here. From each holder it, too, forgets the oldest delivered first."""
        self._whole_since = self._crowd_whole_since = now
        for shelf in self._shelves.values():
            oldest = shelf.delivered[0][0] if shelf.delivered else now
            shelf.whole_since = max(shelf.whole_since, oldest)

    def whole_since(self, holder: str, *, of_crowd: bool = False) -> float:
        """Returns since when everything is known of a holder, or of all who have no name."""
        if of_crowd:
            return max(self._crowd_whole_since, self._whole_since)
        shelf = self._shelves.get(holder)
        return self._whole_since if shelf is None else shelf.whole_since

    def check_invariants(self) -> None:
        """Raises `InvariantError` if something is miscounted."""
        owed = nameless = 0
        for end in self.open.values():
            owed += end.size
            nameless += end.size if is_anybody(end.reply.holder) else 0
        if owed + sum([end.size for end in self.delivered.values()]) != self.bytes:
            raise InvariantError("the bytes of kept answers are miscounted")
        if (owed, nameless) != (self.open_bytes, self._crowd_open_bytes):
            raise InvariantError("the bytes of answers that are owed are miscounted")
        if sum(self._held.values()) != self.bytes or self._held.keys() != self._shelves.keys():
            raise InvariantError("the bytes that each holder keeps are miscounted")
        open_, delivered = len(self.open), len(self.delivered)
        for shelf in self._shelves.values():
            open_ -= len(shelf.open)
            delivered -= len(shelf.delivered)
        if open_:
            raise InvariantError("an end that is to be told is in one index and not in the other")
        if delivered:
            raise InvariantError("a delivered end is in one index and not in the other")

    def _oldest(self, state: EndState, spare: End) -> End | None:
        def first(holder: str) -> End | None:
            line = self._shelves[holder].line(state)[:2]
            return next((placed[3] for placed in line if placed[3] is not spare), None)

        holder = greatest(self._held, lambda holder: first(holder) is not None)
        return first(holder) if holder else None

    def _line(self, state: EndState) -> OrderedDict[str, End]:
        return self.delivered if state is EndState.DELIVERED else self.open

    def _count(self, end: End, size: int) -> None:
        holder = end.reply.holder
        self.bytes += size
        if end.state is not EndState.DELIVERED:
            self.open_bytes += size
            self._crowd_open_bytes += size if is_anybody(holder) else 0
        self._held[holder] = self._held.get(holder, 0) + size


def _backwards(line: list[_Placed], behind: tuple[float] | tuple[float, str, str]) -> Iterator[_Placed]:
    for index in range(bisect_left(line, behind) - 1, -1, -1):
        yield line[index]
