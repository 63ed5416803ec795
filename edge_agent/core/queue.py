"""The bounded first-come-first-served inference queue: places, bytes, shares and reservations.

A place is taken by a session for as long as it lives, whether or not it has an item in the queue just then, and by
each item of another device while it waits or runs. So a session that was accepted always finds room for its later
stages, and other devices get what is left, each no more than its share.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.messages import BusyReason, ChatMessage, Sampling
from edge_agent.core.states import ITEM_TRANSITIONS, ItemOutcome, ItemState, advance


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
    messages: tuple[ChatMessage, ...]
    references: tuple[str, ...]
    sampling: Sampling
    role: str
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

    __slots__ = (
        "_bytes_max",
        "_capacity",
        "_held",
        "_peer_items",
        "_reserved",
        "_share",
        "held_bytes",
        "running",
        "waiting",
        "waiting_with_references",
    )

    def __init__(self, capacity: int, bytes_max: int, origin_share: float) -> None:
        self._capacity = capacity
        self._bytes_max = bytes_max
        self._share = max(1, int(capacity * origin_share))
        self._reserved: dict[str, int] = {}  # session key -> bytes reserved for its stages
        self._held: dict[str, int] = {}  # other device -> places it holds
        self._peer_items = 0
        self.held_bytes = 0
        self.waiting: OrderedDict[str, Item] = OrderedDict()
        self.waiting_with_references = 0
        """How many of those waiting were given references: they take longer."""
        self.running: dict[str, Item] = {}

    @property
    def places_used(self) -> int:
        """Places taken by sessions and by other devices' items; at most the capacity."""
        return self._peer_items + len(self._reserved)

    def refusal(self, origin: str, size_bytes: int) -> BusyReason | None:
        """Returns why an item of another device may not come in now, `None` if it may."""
        if self._peer_items + len(self._reserved) >= self._capacity or self.held_bytes + size_bytes > self._bytes_max:
            return BusyReason.QUEUE_FULL
        if self._held.get(origin, 0) >= self._share:
            return BusyReason.OVER_SHARE
        return None

    def reserve(self, session_key: str, size_bytes: int, *, force: bool = False) -> bool:
        """Takes a place and bytes for a session, for as long as it lives; returns whether there was room.

        `force` is for sessions accepted before a restart: they had their place already.
        """
        if not force and (
            self._peer_items + len(self._reserved) >= self._capacity or self.held_bytes + size_bytes > self._bytes_max
        ):
            return False
        if session_key in self._reserved:
            raise InvariantError(f"session {session_key} has a place already")
        self._reserved[session_key] = size_bytes
        self.held_bytes += size_bytes
        return True

    def release(self, session_key: str) -> None:
        """Gives a session's place back. Its items must have left before."""
        self.held_bytes -= self._reserved.pop(session_key)

    def push(self, item: Item) -> None:
        """Puts an item at the end. The caller has asked `refusal` (other devices) or holds a reservation (sessions)."""
        if item.item_id in self.waiting or item.item_id in self.running:
            raise InvariantError(f"item {item.item_id} is in the queue already")
        if item.role == "peer":
            self._held[item.origin] = self._held.get(item.origin, 0) + 1
            self._peer_items += 1
            self.held_bytes += item.size_bytes
        elif item.owner_key not in self._reserved:
            raise InvariantError(f"session {item.owner_key} has no place")
        self.waiting[item.item_id] = item
        self.waiting_with_references += bool(item.references)

    def pop(self) -> Item | None:
        """Takes the item at the head out of the waiting line; `None` if nobody waits. The caller starts or ends it."""
        if not self.waiting:
            return None
        item = self.waiting.popitem(last=False)[1]
        self.waiting_with_references -= bool(item.references)
        return item

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
        if item.role == "peer":
            self._peer_items -= 1
            self.held_bytes -= item.size_bytes
            left = self._held[item.origin] - 1
            if left:
                self._held[item.origin] = left
            else:
                del self._held[item.origin]

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a bound does not hold or a count is off."""
        items = [*self.waiting.values(), *self.running.values()]
        peers = [item for item in items if item.role == "peer"]
        if len(peers) != self._peer_items or sum(self._held.values()) != self._peer_items:
            raise InvariantError("places of other devices are miscounted")
        if sum(item.size_bytes for item in peers) + sum(self._reserved.values()) != self.held_bytes:
            raise InvariantError("held bytes are miscounted")
        if any(count > self._share for count in self._held.values()):
            raise InvariantError("a device holds more than its share")
        if self._peer_items and self.places_used > self._capacity:
            raise InvariantError("more places are used than there are")
        owners = [item.owner_key for item in items if item.role != "peer"]
        if len(owners) != len(set(owners)) or any(key not in self._reserved for key in owners):
            raise InvariantError("a session has more than one item, or no place for it")
        if sum(bool(item.references) for item in self.waiting.values()) != self.waiting_with_references:
            raise InvariantError("items waiting with references are miscounted")
        if any(item.state is not ItemState.WAITING for item in self.waiting.values()):
            raise InvariantError("an item in the waiting line is not waiting")
