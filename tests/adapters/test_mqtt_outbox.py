from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.mqtt.outbox import Outbox, Outgoing, Priority
from edge_agent.adapters.mqtt.settings import MqttCounters


def item(name: str, priority: Priority = Priority.PEERS, size: int = 1, expires_at: float | None = None) -> Outgoing:
    return Outgoing(name, b"x" * (size - len(name)), 1, False, priority, expires_at=expires_at)


def drain(outbox: Outbox, now: float = 0.0) -> list[str]:
    return [found.topic for found in iter(lambda: outbox.pop(now), None)]


def test_what_is_queued_comes_out_in_its_order_whatever_its_priority() -> None:
    outbox = Outbox(10, 100, MqttCounters())
    for name, priority in (("a", Priority.PEERS), ("b", Priority.USERS), ("c", Priority.PROGRESS)):
        outbox.put(item(name, priority))
    assert drain(outbox) == ["a", "b", "c"]


def test_a_full_outbox_drops_the_oldest_of_the_least_important() -> None:
    counters = MqttCounters()
    outbox = Outbox(3, 100, counters)
    for name, priority in (("a", Priority.USERS), ("b", Priority.PEERS), ("c", Priority.PEERS)):
        outbox.put(item(name, priority))
    outbox.put(item("d", Priority.PEERS))
    outbox.put(item("e", Priority.USERS))
    outbox.put(item("f", Priority.BACKGROUND))
    assert counters.dropped == 3
    assert drain(outbox) == ["a", "d", "e"]


def test_a_message_larger_than_all_room_is_dropped_after_making_what_room_it_may() -> None:
    counters = MqttCounters()
    outbox = Outbox(10, 10, counters)
    outbox.put(item("a", Priority.USERS, size=2))
    outbox.put(item("b", Priority.PEERS, size=11))
    assert drain(outbox) == ["a"]
    assert counters.dropped == 1


def test_an_expired_message_is_not_sent() -> None:
    counters = MqttCounters()
    outbox = Outbox(10, 100, counters)
    outbox.put(item("a", expires_at=5.0))
    outbox.put(item("b", expires_at=5.1))
    assert drain(outbox, now=5.0) == ["b"]
    assert counters.expired == 1


def test_what_was_under_way_goes_back_to_its_place() -> None:
    outbox = Outbox(2, 100, MqttCounters())
    outbox.put(item("a"))
    outbox.put(item("b", Priority.USERS))
    popped = [found for found in (outbox.pop(0.0), outbox.pop(0.0)) if found]
    outbox.put(item("c"))
    outbox.put_back(list(reversed(popped)))
    assert drain(outbox) == ["a", "b", "c"]


def test_only_what_is_worth_nothing_later_goes_when_the_connection_breaks() -> None:
    outbox = Outbox(10, 100, MqttCounters())
    for priority in Priority:
        outbox.put(item(priority.name, priority))
    outbox.drop_volatile()
    assert drain(outbox) == ["PEERS", "USERS"]


@given(
    st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 12)), max_size=40),
    st.integers(1, 8),
    st.integers(1, 30),
)
def test_the_bounds_hold_and_every_message_is_kept_or_counted(
    items: list[tuple[Priority, int]], items_max: int, bytes_max: int
) -> None:
    counters = MqttCounters()
    outbox = Outbox(items_max, bytes_max, counters)
    for priority, size in items:
        outbox.put(item("", priority, size))
        assert len(outbox) <= items_max
        assert outbox.size <= bytes_max
    assert len(outbox) + counters.dropped == len(items)
    kept = len(drain(outbox))
    assert kept + counters.dropped == len(items)
    assert outbox.size == 0
