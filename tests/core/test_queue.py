"""Places, bytes, shares and reservations of the inference queue."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.messages import BusyReason, ChatMessage, Role, Sampling
from edge_agent.core.queue import InferenceQueue, Item
from edge_agent.core.states import ItemOutcome, ItemState


class Nobody:
    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        raise AssertionError("the queue tells nobody; its server does")

    def item_text(self, item: Item, text: str) -> None:
        raise AssertionError("the queue tells nobody; its server does")


def item(item_id: str, origin: str = "d1", role: str = "peer", size_bytes: int = 10) -> Item:
    return Item(
        item_id=item_id,
        owner=Nobody(),
        owner_key=item_id,
        origin=origin,
        messages=(ChatMessage(Role.USER, "hi"),),
        references=(),
        sampling=Sampling(),
        role=role,
        size_bytes=size_bytes,
        enqueued_at=0.0,
        expires_at=100.0,
    )


def queue_of(capacity: int = 4, bytes_max: int = 1_000, share: float = 0.5) -> InferenceQueue:
    return InferenceQueue(capacity, bytes_max, share)


def test_who_came_first_is_next() -> None:
    queue = queue_of(capacity=8, share=1.0)
    for name in "cab":
        queue.push(item(name))
    popped = [queue.pop() for _ in range(4)]
    assert [found and found.item_id for found in popped] == ["c", "a", "b", None]


def test_sessions_and_other_devices_items_share_the_places_and_no_more_come_in() -> None:
    queue = queue_of(capacity=3, share=1.0)
    assert queue.reserve("s1", 10)
    assert queue.reserve("s2", 10)
    assert queue.refusal("d1", 10) is None
    queue.push(item("a"))
    assert queue.places_used == 3
    assert queue.refusal("d2", 10) is BusyReason.QUEUE_FULL
    assert not queue.reserve("s3", 10)
    queue.release("s1")
    assert queue.refusal("d2", 10) is None
    queue.check_invariants()


def test_a_session_has_its_place_between_its_items_too() -> None:
    queue = queue_of(capacity=1)
    queue.reserve("s1", 10)
    for _ in range(3):
        own = item("s1", role="proposer", size_bytes=0)
        queue.push(own)
        assert queue.refusal("d1", 10) is BusyReason.QUEUE_FULL
        popped = queue.pop()
        assert popped is own
        queue.start(own, 1.0)
        queue.end(own, ItemState.COMPLETED)
        assert queue.refusal("d1", 10) is BusyReason.QUEUE_FULL, "its later stages would find no room"
        queue.check_invariants()


def test_a_restored_session_gets_its_place_in_a_full_queue() -> None:
    queue = queue_of(capacity=1)
    queue.reserve("s1", 10)
    assert not queue.reserve("s2", 10)
    assert queue.reserve("s2", 10, force=True)
    assert queue.places_used == 2
    queue.check_invariants()
    assert queue.refusal("d1", 0) is BusyReason.QUEUE_FULL


def test_no_device_holds_more_than_its_share_and_a_share_is_at_least_one_place() -> None:
    queue = queue_of(capacity=4, share=0.5)
    queue.push(item("a"))
    queue.push(item("b"))
    assert queue.refusal("d1", 10) is BusyReason.OVER_SHARE
    assert queue.refusal("d2", 10) is None
    assert queue_of(capacity=2, share=0.1).refusal("d1", 10) is None


def test_a_place_given_back_counts_for_the_share_whether_the_item_waited_or_ran() -> None:
    queue = queue_of(capacity=4, share=0.5)
    first, second = item("a"), item("b")
    queue.push(first)
    queue.push(second)
    popped = queue.pop()
    assert popped is first
    queue.start(first, 1.0)
    assert queue.refusal("d1", 10) is BusyReason.OVER_SHARE, "a running item holds its place"
    queue.end(first, ItemState.COMPLETED)
    assert queue.refusal("d1", 10) is None
    queue.end(second, ItemState.CANCELLED)
    assert (queue.places_used, queue.held_bytes, queue._held) == (0, 0, {})
    queue.check_invariants()


def test_bytes_are_bounded_across_sessions_and_other_devices() -> None:
    queue = queue_of(capacity=10, bytes_max=100, share=1.0)
    assert queue.reserve("s1", 60)
    assert queue.refusal("d1", 41) is BusyReason.QUEUE_FULL
    assert queue.refusal("d1", 40) is None
    queue.push(item("a", size_bytes=40))
    assert not queue.reserve("s2", 1)
    queue.release("s1")
    assert queue.reserve("s2", 60)
    queue.check_invariants()


def test_a_cancelled_waiting_item_is_no_longer_next() -> None:
    queue = queue_of(capacity=8, share=1.0)
    items = [item(name) for name in "abc"]
    for one in items:
        queue.push(one)
    queue.end(items[0], ItemState.CANCELLED)
    assert queue.find("a") is None
    popped = queue.pop()
    assert popped is items[1]


def test_misuse_by_our_own_code_is_an_invariant_error() -> None:
    queue = queue_of()
    queue.reserve("s1", 10)
    with pytest.raises(InvariantError, match="has a place already"):
        queue.reserve("s1", 10)
    with pytest.raises(InvariantError, match="has no place"):
        queue.push(item("s9", role="proposer"))
    queue.push(item("a"))
    with pytest.raises(InvariantError, match="in the queue already"):
        queue.push(item("a"))
    ended = item("b")
    queue.push(ended)
    queue.end(ended, ItemState.CANCELLED)
    with pytest.raises(InvariantError, match="may not go from"):
        queue.end(ended, ItemState.CANCELLED)


def _forget_a_place(queue: InferenceQueue) -> None:
    queue._peer_items -= 1


def _forget_a_share(queue: InferenceQueue) -> None:
    queue._held["d1"] -= 1


def _forget_bytes(queue: InferenceQueue) -> None:
    queue.held_bytes -= 1


def _let_too_many_in(queue: InferenceQueue) -> None:
    for number in range(4):
        queue.push(item(f"x{number}", origin=f"x{number}"))


def _let_one_take_too_much(queue: InferenceQueue) -> None:
    queue.push(item("x1"))
    queue.push(item("x2"))


def _put_a_session_in_twice(queue: InferenceQueue) -> None:
    second = item("other", role="aggregator", size_bytes=0)
    second.owner_key = "s1"
    queue.waiting["other"] = second


def _lose_a_session_s_place(queue: InferenceQueue) -> None:
    queue.held_bytes -= queue._reserved.pop("s1")


def _leave_a_running_item_in_line(queue: InferenceQueue) -> None:
    next(iter(queue.waiting.values())).state = ItemState.RUNNING


CORRUPTIONS: list[tuple[Callable[[InferenceQueue], None], str]] = [
    (_forget_a_place, "places of other devices are miscounted"),
    (_forget_a_share, "places of other devices are miscounted"),
    (_forget_bytes, "held bytes are miscounted"),
    (_let_too_many_in, "more places are used than there are"),
    (_let_one_take_too_much, "more than its share"),
    (_put_a_session_in_twice, "more than one item"),
    (_lose_a_session_s_place, "no place for it"),
    (_leave_a_running_item_in_line, "is not waiting"),
]


@pytest.mark.parametrize(("corrupt", "words"), CORRUPTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_queue_that_contradicts_itself_is_noticed(corrupt: Callable[[InferenceQueue], None], words: str) -> None:
    queue = queue_of(capacity=5, share=0.4)
    queue.reserve("s1", 10)
    own = item("s1", role="proposer", size_bytes=0)
    queue.push(own)
    queue.push(item("a"))
    queue.check_invariants()
    corrupt(queue)
    with pytest.raises(InvariantError, match=words):
        queue.check_invariants()


def test_any_mix_of_coming_and_going_keeps_every_count_right() -> None:
    rng = random.Random(3)
    queue = queue_of(capacity=6, bytes_max=200, share=0.5)
    inside: list[Item] = []
    sessions: set[str] = set()
    for number in range(5_000):
        action = rng.random()
        if action < 0.4:
            origin, size = f"d{rng.randrange(4)}", rng.randrange(60)
            if queue.refusal(origin, size) is None:
                inside.append(item(f"i{number}", origin, size_bytes=size))
                queue.push(inside[-1])
        elif action < 0.5 and queue.reserve(f"s{number}", rng.randrange(60)):
            sessions.add(f"s{number}")
        elif action < 0.6 and sessions:
            name = min(sessions)
            sessions.remove(name)
            queue.release(name)
        elif action < 0.8 and (popped := queue.pop()) is not None:
            queue.start(popped, float(number))
        elif inside:
            gone = inside.pop(rng.randrange(len(inside)))
            queue.end(gone, ItemState.CANCELLED)
        queue.check_invariants()
        assert queue.places_used == len(inside) + len(sessions) <= 6
        assert queue.held_bytes <= 200
