"""Named deadlines with one outside face."""

from __future__ import annotations

import random

from edge_agent.core.timers import _STALE_MAX, TimerKind, Timers
from tests.core.mesh import Mesh


def drain(timers: Timers, now: float) -> list[str]:
    due = []
    while (key := timers.pop_due(now)) is not None:
        due.append(key[1])
    return due


def test_deadlines_come_due_in_their_order_and_equal_ones_in_the_order_they_were_set() -> None:
    timers = Timers()
    for name, deadline in (("c", 3.0), ("a1", 1.0), ("b", 2.0), ("a2", 1.0)):
        timers.set(("kind", name), deadline)
    assert timers.next_deadline() == 1.0
    assert drain(timers, 0.99) == []
    assert drain(timers, 2.0) == ["a1", "a2", "b"]
    assert timers.next_deadline() == 3.0


def test_a_deadline_that_is_set_again_counts_only_as_it_was_set_last() -> None:
    timers = Timers()
    timers.set(("kind", "a"), 1.0)
    timers.set(("kind", "a"), 5.0)
    assert len(timers) == 1
    assert drain(timers, 4.0) == []
    timers.set(("kind", "a"), 4.5)
    assert drain(timers, 9.0) == ["a"]
    assert timers.next_deadline() is None


def test_a_cleared_deadline_never_comes_and_clearing_twice_is_harmless() -> None:
    timers = Timers()
    timers.set(("kind", "a"), 1.0)
    timers.clear(("kind", "a"))
    timers.clear(("kind", "a"))
    assert ("kind", "a") not in timers
    assert drain(timers, 2.0) == []


def test_the_same_id_of_another_kind_is_another_deadline() -> None:
    timers = Timers()
    timers.set(("receipt", "r"), 1.0)
    timers.set(("probe", "r"), 2.0)
    timers.clear(("receipt", "r"))
    assert timers.pop_due(3.0) == ("probe", "r")


def test_what_was_cleared_or_replaced_takes_no_memory_for_good() -> None:
    timers = Timers()
    timers.set(("kind", "keeps"), 1e9)
    for number in range(10_000):
        timers.set(("kind", str(number)), 1e6 + number)
        timers.clear(("kind", str(number)))
    assert len(timers._heap) <= 2 * len(timers) + _STALE_MAX
    for number in range(10_000):
        timers.set(("kind", "moves"), 1e7 + number)
    assert len(timers) == 2
    assert len(timers._heap) <= 2 * len(timers) + _STALE_MAX


def test_any_mix_of_setting_and_clearing_agrees_with_a_plain_dictionary() -> None:
    rng = random.Random(7)
    timers, model, now = Timers(), {}, 0.0
    for step in range(20_000):
        key = ("kind", str(rng.randrange(300)))
        action = rng.random()
        if action < 0.6:
            model[key] = (now + rng.randrange(50), step)
            timers.set(key, model[key][0])
        elif action < 0.8:
            model.pop(key, None)
            timers.clear(key)
        else:
            now += rng.random() * 3
            due = sorted((at, order, name) for name, (at, order) in model.items() if at <= now)
            assert drain(timers, now) == [name[1] for _, _, name in due]
            for _, _, name in due:
                del model[name]
        assert len(timers) == len(model)
        assert timers.next_deadline() == min((at for at, _ in model.values()), default=None)


def test_somebody_acts_on_every_kind_of_deadline() -> None:
    assert set(Mesh(1).agents["d0"]._due) == set(TimerKind)
