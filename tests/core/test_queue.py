"""Places, bytes, shares and reservations of the inference queue."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from edge_agent.core.errors import InvariantError
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.messages import ChatMessage, Role, Sampling
from edge_agent.core.queue import InferenceQueue, Item
from edge_agent.core.shares import Shortage
from edge_agent.core.states import ItemOutcome, ItemRole, ItemState

TOKENS = 8


class Nobody:
    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        raise AssertionError("the queue tells nobody; its server does")

    def item_text(self, item: Item, text: str) -> None:
        raise AssertionError("the queue tells nobody; its server does")


def item(item_id: str, origin: str = "d1", role: ItemRole = ItemRole.PEER, size_bytes: int = 10) -> Item:
    return Item(
        item_id=item_id,
        owner=Nobody(),
        owner_key=item_id,
        origin=origin,
        holder=origin,
        messages=(ChatMessage(Role.USER, "hi"),),
        references=(),
        sampling=Sampling(max_output_tokens=TOKENS),
        role=role,
        size_bytes=size_bytes,
        enqueued_at=0.0,
        expires_at=100.0,
    )


def queue_of(capacity: int = 4, bytes_max: int = 1_000, share: float = 0.5) -> InferenceQueue:
    return InferenceQueue(capacity, bytes_max, 1_000 * TOKENS, share)


def test_who_came_first_is_next() -> None:
    queue = queue_of(capacity=8, share=1.0)
    for name in "cab":
        queue.push(item(name))
    popped = [queue.pop() for _ in range(4)]
    assert [found and found.item_id for found in popped] == ["c", "a", "b", None]


def test_sessions_and_other_devices_items_share_the_places_and_no_more_come_in() -> None:
    queue = queue_of(capacity=3, share=1.0)
    assert queue.reserve("s1", "u/", 10, TOKENS) is None
    assert queue.reserve("s2", "u/", 10, TOKENS) is None
    assert queue.shortage("d1", 10, TOKENS) is None
    queue.push(item("a"))
    assert queue.places_used == 3
    assert queue.shortage("d2", 10, TOKENS) is Shortage.FULL
    assert queue.reserve("s3", "u/", 10, TOKENS) is Shortage.FULL
    queue.release("s1")
    assert queue.shortage("d2", 10, TOKENS) is None
    queue.check_invariants()


def test_a_session_has_its_place_between_its_items_too() -> None:
    queue = queue_of(capacity=1)
    queue.reserve("s1", "u/", 10, TOKENS)
    for _ in range(3):
        own = item("s1", role=ItemRole.PROPOSER, size_bytes=0)
        queue.push(own)
        assert queue.shortage("d1", 10, TOKENS) is Shortage.FULL
        popped = queue.pop()
        assert popped is own
        queue.start(own, 1.0)
        queue.end(own, ItemState.COMPLETED)
        assert queue.shortage("d1", 10, TOKENS) is Shortage.FULL, "its later stages would find no room"
        queue.check_invariants()


def test_a_restored_session_gets_its_place_in_a_full_queue() -> None:
    queue = queue_of(capacity=1)
    queue.reserve("s1", "u/", 10, TOKENS)
    assert queue.reserve("s2", "u/", 10, TOKENS) is Shortage.FULL
    assert queue.reserve("s2", "u/", 10, TOKENS, force=True) is None
    assert queue.places_used == 2
    queue.check_invariants()
    assert queue.shortage("d1", 0, TOKENS) is Shortage.FULL


def test_beyond_its_share_nobody_takes_the_reserve_and_a_share_is_at_least_one_place() -> None:
    queue = queue_of(capacity=4, share=0.5)
    queue.push(item("a"))
    queue.push(item("b"))
    assert queue.shortage("d1", 10, TOKENS) is Shortage.SHARE
    assert queue.shortage("d2", 10, TOKENS) is None
    assert queue_of(capacity=2, share=0.1).shortage("d1", 10, TOKENS) is None


def test_a_place_given_back_counts_for_the_share_whether_the_item_waited_or_ran() -> None:
    queue = queue_of(capacity=4, share=0.5)
    first, second = item("a"), item("b")
    queue.push(first)
    queue.push(second)
    popped = queue.pop()
    assert popped is first
    queue.start(first, 1.0)
    assert queue.shortage("d1", 10, TOKENS) is Shortage.SHARE, "a running item holds its place"
    queue.end(first, ItemState.COMPLETED)
    assert queue.shortage("d1", 10, TOKENS) is None
    queue.end(second, ItemState.CANCELLED)
    assert queue.shares.used == (0, 0, 0)
    queue.check_invariants()


def test_bytes_are_bounded_across_sessions_and_other_devices() -> None:
    queue = queue_of(capacity=10, bytes_max=100, share=1.0)
    assert queue.reserve("s1", "u/", 60, TOKENS) is None
    assert queue.shortage("d1", 41, TOKENS) is Shortage.FULL
    assert queue.shortage("d1", 40, TOKENS) is None
    queue.push(item("a", size_bytes=40))
    assert queue.reserve("s2", "u/", 1, TOKENS) is Shortage.FULL
    queue.release("s1")
    assert queue.reserve("s2", "u/", 60, TOKENS) is None
    queue.check_invariants()


def popped(queue: InferenceQueue) -> str:
    one = queue.pop()
    assert one is not None
    queue.end(one, ItemState.CANCELLED)
    return one.item_id


def test_others_pass_who_has_more_than_its_share_for_a_few_turns_at_a_time() -> None:
    queue = queue_of(capacity=16, share=0.25)
    for number in range(8):
        queue.push(item(f"much{number}", "d1"))
    for number in range(8):
        queue.push(item(f"little{number}", f"other{number}"))
    order = [popped(queue) for _ in range(10)]
    assert order == [*(f"little{number}" for number in range(7)), "much0", "little7", "much1"]
    queue.check_invariants()


def test_those_within_their_share_and_one_alone_are_served_as_they_came() -> None:
    queue = queue_of(capacity=16, share=0.25)
    for number in range(4):
        queue.push(item(f"a{number}", "d1"))
        queue.push(item(f"b{number}", "d2"))
    assert [popped(queue) for _ in range(8)] == [f"{letter}{number}" for number in range(4) for letter in "ab"]
    for number in range(12):
        queue.push(item(f"a{number}", "d1"))
    assert [popped(queue) for _ in range(12)] == [f"a{number}" for number in range(12)]


def test_who_was_over_its_share_is_so_until_it_is_down_to_half_of_it() -> None:
    queue = queue_of(capacity=16, share=0.25)
    for number in range(5):
        queue.push(item(f"much{number}", "d1"))
    queue.push(item("little", "d2"))
    assert popped(queue) == "little"
    popped(queue)
    popped(queue)
    queue.push(item("little", "d2"))
    assert popped(queue) == "little", "with three left it is over still"
    popped(queue)
    queue.push(item("little", "d2"))
    assert popped(queue) == "much3", "with two left it stands in line like all others"
    queue.check_invariants()


def test_who_would_be_served_first_is_who_is_counted_as_ahead() -> None:
    queue = queue_of(capacity=16, share=0.25)
    for number in range(8):
        queue.push(item(f"much{number}", "d1"))
    for number in range(7):
        queue.push(item(f"little{number}", f"other{number}"))
    ahead = [f"little{number}" for number in range(7)]
    assert [one.item_id for one in queue.ahead_of("d9")] == [*ahead, "much0"]
    assert len(list(queue.ahead_of("d1"))) == 15


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
    queue.reserve("s1", "u/", 10, TOKENS)
    with pytest.raises(InvariantError, match="has a place already"):
        queue.reserve("s1", "u/", 10, TOKENS)
    with pytest.raises(InvariantError, match="has no place"):
        queue.push(item("s9", role=ItemRole.PROPOSER))
    queue.push(item("a"))
    with pytest.raises(InvariantError, match="in the queue already"):
        queue.push(item("a"))
    ended = item("b")
    queue.push(ended)
    queue.end(ended, ItemState.CANCELLED)
    with pytest.raises(InvariantError, match="may not go from"):
        queue.end(ended, ItemState.CANCELLED)


def _forget_a_place(queue: InferenceQueue) -> None:
    queue.shares.give_back("d1", 10, TOKENS)


def _forget_bytes(queue: InferenceQueue) -> None:
    queue.shares.used = (queue.places_used, queue.held_bytes - 1, queue.shares.used[2])


def _forget_work(queue: InferenceQueue) -> None:
    queue.shares.used = (queue.places_used, queue.held_bytes, 0)


def _let_too_many_in(queue: InferenceQueue) -> None:
    for number in range(4):
        queue.push(item(f"x{number}", origin=f"x{number}"))


def _forget_who_is_over(queue: InferenceQueue) -> None:
    for name in ("x1", "x2"):
        queue.push(item(name))
    queue.shares._over.clear()


def _remember_who_is_gone(queue: InferenceQueue) -> None:
    queue.shares._over["d9"] = None


def _put_a_session_in_twice(queue: InferenceQueue) -> None:
    second = item("other", role=ItemRole.AGGREGATOR, size_bytes=0)
    second.owner_key = "s1"
    queue.waiting["other"] = second


def _lose_a_session_s_place(queue: InferenceQueue) -> None:
    queue.release("s1")


def _leave_a_running_item_in_line(queue: InferenceQueue) -> None:
    next(iter(queue.waiting.values())).state = ItemState.RUNNING


CORRUPTIONS: list[tuple[Callable[[InferenceQueue], None], str]] = [
    (_forget_a_place, "are not those of sessions and items"),
    (_forget_bytes, "held bytes are miscounted"),
    (_forget_work, "held work are miscounted"),
    (_let_too_many_in, "more places are used than there are"),
    (_forget_who_is_over, "more than its share and is not over it"),
    (_remember_who_is_gone, "over its share who holds nothing"),
    (_put_a_session_in_twice, "more than one item"),
    (_lose_a_session_s_place, "no place for it"),
    (_leave_a_running_item_in_line, "is not waiting"),
]


@pytest.mark.parametrize(("corrupt", "words"), CORRUPTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_queue_that_contradicts_itself_is_noticed(corrupt: Callable[[InferenceQueue], None], words: str) -> None:
    queue = queue_of(capacity=5, share=0.4)
    queue.reserve("s1", "u/", 10, TOKENS)
    own = item("s1", role=ItemRole.PROPOSER, size_bytes=0)
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
            if queue.shortage(origin, size, TOKENS) is None:
                inside.append(item(f"i{number}", origin, size_bytes=size))
                queue.push(inside[-1])
        elif action < 0.5 and queue.reserve(f"s{number}", f"u{number % 3}/", rng.randrange(60), TOKENS) is None:
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
