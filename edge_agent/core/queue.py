"""The bounded first-come-first-served inference queue: places, bytes, work, and whose they are.

A place is taken by a session for as long as it lives, whether or not it has an item in the queue just then, and by
each item of another device while it waits or runs. So a session that was accepted always finds room for its later
stages. What each user and each device may have is said in `shares`. Who has more than its share is passed by others in
line, for a few turns at a time; all others are served in the order they came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.messages import ChatMessage, Sampling
from edge_agent.core.shares import Shares, Shortage
from edge_agent.core.states import ITEM_TRANSITIONS, ItemOutcome, ItemRole, ItemState, advance


class ItemOwner(Protocol):
    """Who is told what becomes of an item."""

    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        """The item has left the queue. `result` is there only if it completed."""
        ...

    def item_text(self, item: Item, text: str) -> None:
        """The engine generated some text of a streamed item."""
        ...


@dataclass(slots=True, eq=False)
class Item:
    """One place in the queue: an inference to be done, and what has become of it so far."""

    item_id: str
    owner: ItemOwner
    owner_key: str
    """What the owner knows it by: a session's key, or a peer's request id."""
    origin: str
    """The device whose prompt it serves."""
    holder: str
    """Whose share it counts for: that device's, or of a session's item its user's."""
    messages: tuple[ChatMessage, ...]
    references: tuple[str, ...]
    sampling: Sampling
    role: ItemRole
    size_bytes: int
    enqueued_at: float
    expires_at: float
    stream: bool = False
    state: ItemState = ItemState.WAITING
    started_at: float = 0.0
    attempts: int = 0
    detail: str = ""


class InferenceQueue:
    """Who may come in, who is next, who is running. It knows nothing of engines."""

    __slots__ = ("_passed", "_reserved", "running", "shares", "waiting", "waiting_with_references")

    def __init__(self, capacity: int, bytes_max: int, work_max: int, share: float) -> None:
        self.shares = Shares(share, capacity, bytes_max, work_max)
        self._reserved: dict[str, tuple[str, int, int]] = {}  # session key -> holder, bytes and work of its stages
        self._passed = 0  # turns in a row in which the head was passed by
        self.waiting: OrderedDict[str, Item] = OrderedDict()
        self.waiting_with_references = 0
        """How many of those waiting were given references: they take longer."""
        self.running: dict[str, Item] = {}

    @property
    def places_used(self) -> int:
        """Places taken by sessions and by other devices' items; at most the capacity."""
        return self.shares.used[0]

    @property
    def held_bytes(self) -> int:
        """Bytes taken by sessions and by other devices' items."""
        return self.shares.used[1]

    def shortage(self, holder: str, size_bytes: int, work: int) -> Shortage | None:
        """Returns why an item of another device may not come in now, `None` if it may."""
        return self.shares.shortage(holder, size_bytes, work)

    def reserve(
        self, session_key: str, holder: str, size_bytes: int, work: int, *, force: bool = False
    ) -> Shortage | None:
        """Takes a place, bytes and work for a session, for as long as it lives; returns why there is no room.

        `force` is for sessions accepted before a restart: they had their place already.
        """
        shortage = None if force else self.shares.shortage(holder, size_bytes, work)
        if shortage is not None:
            return shortage
        if session_key in self._reserved:
            raise InvariantError(f"session {session_key} has a place already")
        self._reserved[session_key] = (holder, size_bytes, work)
        self.shares.take(holder, size_bytes, work)
        return None

    def release(self, session_key: str) -> None:
        """Gives a session's place back. Its items must have left before."""
        self.shares.give_back(*self._reserved.pop(session_key))

    def push(self, item: Item) -> None:
        """Puts an item at the end. The caller has asked `shortage` (of other devices' items) or holds a reservation."""
        if item.item_id in self.waiting or item.item_id in self.running:
            raise InvariantError(f"item {item.item_id} is in the queue already")
        if item.role is ItemRole.PEER:
            self.shares.take(item.holder, item.size_bytes, item.sampling.max_output_tokens)
        elif item.owner_key not in self._reserved:
            raise InvariantError(f"session {item.owner_key} has no place")
        self.waiting[item.item_id] = item
        self.waiting_with_references += bool(item.references)

    def pop(self) -> Item | None:
        """Takes who is next out of the waiting line; `None` if nobody waits. The caller starts or ends it."""
        if not self.waiting:
            return None
        item = next(iter(self.waiting.values()))
        if self.shares.is_over(item.holder):
            item = self._next_instead_of(item)
        del self.waiting[item.item_id]
        self.waiting_with_references -= bool(item.references)
        return item

    def ahead_of(self, holder: str) -> Iterable[Item]:
        """Returns those waiting who would be served before an item of this holder that came now."""
        shares = self.shares
        if not shares.has_over or shares.is_over(holder):
            return self.waiting.values()
        first = [item for item in self.waiting.values() if not shares.is_over(item.holder)]
        turns = (len(first) + 1 + self._passed) // shares.turns  # of those whom the others pass meanwhile
        return first + [item for item in self.waiting.values() if shares.is_over(item.holder)][:turns]

    def _next_instead_of(self, head: Item) -> Item:
        """The head is of somebody who is over its share: others pass it, but for one turn in a few."""
        if self._passed + 1 < self.shares.turns:
            for item in self.waiting.values():
                if not self.shares.is_over(item.holder):
                    self._passed += 1
                    return item
        self._passed = 0
        return head

    def start(self, item: Item, now: float) -> None:
        """The popped item is handed to the engine."""
        item.state = advance(ITEM_TRANSITIONS, item.state, ItemState.RUNNING)
        item.started_at = now
        item.attempts += 1
        self.running[item.item_id] = item

    def find(self, item_id: str) -> Item | None:
        """Returns the waiting or running item of that id."""
        return self.running.get(item_id) or self.waiting.get(item_id)

    def end(self, item: Item, state: ItemState) -> None:
        """The item leaves, from the waiting line, from the engine, or just popped."""
        item.state = advance(ITEM_TRANSITIONS, item.state, state)
        if self.running.pop(item.item_id, None) is None and self.waiting.pop(item.item_id, None) is not None:
            self.waiting_with_references -= bool(item.references)
        if item.role is ItemRole.PEER:
            self.shares.give_back(item.holder, item.size_bytes, item.sampling.max_output_tokens)

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a bound does not hold or a count is off."""
        if contradiction := self.shares.contradiction():
            raise InvariantError(contradiction)
        held: dict[str, int] = {}
        for holder, _, _ in self._reserved.values():
            held[holder] = held.get(holder, 0) + 1
        owners: list[str] = []
        for line in (self.waiting, self.running):
            for item in line.values():
                if item.role is ItemRole.PEER:
                    held[item.holder] = held.get(item.holder, 0) + 1
                else:
                    owners.append(item.owner_key)
        places, shares = self.places_used, self.shares
        if sum(held.values()) != places or (held and any(shares.holds(one) != held[one] for one in held)):
            raise InvariantError("the places that are taken are not those of sessions and items")
        if places > shares.places and places > len(self._reserved):
            raise InvariantError("more places are used than there are")
        if owners and (len(owners) != len(set(owners)) or not self._reserved.keys() >= set(owners)):
            raise InvariantError("a session has more than one item, or no place for it")
        if sum([bool(item.references) for item in self.waiting.values()]) != self.waiting_with_references:
            raise InvariantError("items waiting with references are miscounted")
        if self.waiting and any(item.state is not ItemState.WAITING for item in self.waiting.values()):
            raise InvariantError("an item in the waiting line is not waiting")
