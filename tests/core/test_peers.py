"""The bounded view of the other devices."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge_agent.core.errors import InvariantError
from edge_agent.core.messages import PeerEntry
from edge_agent.core.peers import _GRAVES_MAX, PeerStatus, PeerView

DRAWS = random.Random(1)


def entry(name: str, incarnation: int = 1, heartbeat: int = 1, waiting: int = 0) -> PeerEntry:
    return PeerEntry(name, f"home-of-{name}", "m", "f", incarnation, heartbeat, waiting, None)


def view_of(*names: str, size_max: int = 10) -> PeerView:
    view = PeerView("me", size_max)
    for name in names:
        assert view.learn(entry(name), 0.0, DRAWS)
    return view


def alive(view: PeerView) -> list[str]:
    view.check_invariants()
    return sorted(view[index].device_id for index in range(len(view)))


def test_a_device_is_new_once_and_never_this_one() -> None:
    view = view_of("a")
    assert not view.learn(entry("a", heartbeat=2), 1.0, DRAWS)
    assert not view.learn(entry("me"), 1.0, DRAWS)
    assert alive(view) == ["a"]


@pytest.mark.parametrize(
    ("incarnation", "heartbeat", "is_news"), [(5, 5, False), (5, 4, False), (4, 99, False), (5, 6, True), (6, 0, True)]
)
def test_only_a_higher_incarnation_or_heartbeat_is_news(incarnation: int, heartbeat: int, is_news: bool) -> None:
    view = PeerView("me", 10)
    view.learn(entry("a", 5, 5, waiting=1), 0.0, DRAWS)
    view.learn(entry("a", incarnation, heartbeat, waiting=2), 7.0, DRAWS)
    row = view.get("a")
    assert row is not None
    assert (row.entry.requests_waiting, row.heard_at) == ((2, 7.0) if is_news else (1, 0.0))


def test_a_suspect_is_not_offered_for_selection_until_there_is_news_of_it() -> None:
    view = view_of("a", "b", "c")
    assert view.suspect("b")
    assert not view.suspect("b")
    assert alive(view) == ["a", "c"]
    view.learn(entry("b"), 1.0, DRAWS)  # old news
    assert alive(view) == ["a", "c"]
    view.learn(entry("b", heartbeat=2), 2.0, DRAWS)
    assert alive(view) == ["a", "b", "c"]
    view.suspect("a")
    view.heard("a", 3.0)
    assert alive(view) == ["a", "b", "c"]


def test_what_is_said_of_an_unknown_device_changes_nothing() -> None:
    view = view_of("a")
    assert not view.suspect("x")
    view.heard("x", 1.0)
    view.set_load("x", 3)
    assert view.get("x") is None
    assert alive(view) == ["a"]


def test_a_receipt_s_load_is_newer_than_gossip_s_without_being_news_of_life() -> None:
    view = view_of("a")
    view.suspect("a")
    view.set_load("a", 9)
    row = view.get("a")
    assert row is not None
    assert (row.entry.requests_waiting, row.status) == (9, PeerStatus.SUSPECT)


def test_the_dead_do_not_come_back_by_old_gossip_but_by_a_heartbeat_or_a_restart() -> None:
    view = view_of("a", "b")
    view.learn(entry("a", heartbeat=7), 0.0, DRAWS)
    assert view.bury(entry("a", 1, 3)), "a will carries the heartbeat of long ago"
    assert not view.bury(entry("a", 1, 3))
    assert not view.learn(entry("a", heartbeat=7), 1.0, DRAWS)
    assert alive(view) == ["b"]
    assert view.learn(entry("a", heartbeat=8), 2.0, DRAWS)
    view.bury(entry("a", 1, 8))
    assert view.learn(entry("a", incarnation=2, heartbeat=0), 3.0, DRAWS)
    assert alive(view) == ["a", "b"]


def test_the_will_of_an_earlier_incarnation_does_not_bury_the_later_one() -> None:
    view = PeerView("me", 10)
    view.learn(entry("a", 5, 1), 0.0, DRAWS)
    assert not view.bury(entry("a", 4, 100))
    assert alive(view) == ["a"]
    assert view.bury(entry("a", 6, 0)), "a will of a later life than was heard of"
    assert not view.learn(entry("a", 5, 50), 1.0, DRAWS)


def test_a_later_grave_is_not_overwritten_by_an_earlier_one() -> None:
    view = PeerView("me", 10)
    view.bury(entry("a", 5, 9))
    view.bury(entry("a", 3, 1))
    assert not view.learn(entry("a", 5, 9), 0.0, DRAWS)
    assert not view.learn(entry("a", 4, 0), 0.0, DRAWS)


def test_graves_are_bounded_and_the_oldest_is_forgotten_first() -> None:
    view = PeerView("me", 10)
    for number in range(_GRAVES_MAX + 1):
        view.bury(entry(f"x{number}"))
    view.check_invariants()
    assert view.learn(entry("x0"), 0.0, DRAWS)
    assert not view.learn(entry(f"x{_GRAVES_MAX}"), 0.0, DRAWS)


def test_silence_makes_suspects_first_and_then_the_dead() -> None:
    view = view_of("a", "b")
    view.learn(entry("b", heartbeat=2), 15.0, DRAWS)
    assert view.age(9.9, 10.0, 30.0) == ([], [])
    assert alive(view) == ["a", "b"]
    assert view.age(10.0, 10.0, 30.0) == (["a"], [])
    assert alive(view) == ["b"]
    assert view.age(30.0, 10.0, 30.0) == (["b"], ["a"])
    assert view.get("a") is None
    assert not view.learn(entry("a"), 31.0, DRAWS)


def test_what_could_not_be_heard_is_forgiven() -> None:
    view = view_of("a", "b")
    view.refresh(100.0)
    assert view.age(105.0, 10.0, 30.0) == ([], [])
    assert alive(view) == ["a", "b"]


def test_a_full_view_forgets_any_device_with_the_same_chance() -> None:
    draws, size, runs = random.Random(5), 10, 4_000
    forgotten = dict.fromkeys((f"x{number}" for number in range(size)), 0)
    for _ in range(runs):
        view = view_of(*forgotten, size_max=size)
        assert view.learn(entry("new"), 1.0, draws)
        assert len(view) == size
        (gone,) = set(forgotten) - set(alive(view))
        forgotten[gone] += 1
    expected = runs / size
    chi_square = sum((count - expected) ** 2 / expected for count in forgotten.values())
    assert chi_square < 27.88, f"p < 0.001 for 9 degrees of freedom: {forgotten}"


def test_any_mix_of_news_suspicion_and_death_keeps_the_list_of_the_alive_right() -> None:
    rng = random.Random(11)
    view = PeerView("me", 6)
    now = 0.0
    for _ in range(5_000):
        name = f"x{rng.randrange(12)}"
        now += rng.random()
        match rng.randrange(6):
            case 0 | 1:
                view.learn(entry(name, rng.randrange(3), rng.randrange(50)), now, rng)
            case 2:
                view.suspect(name)
            case 3:
                view.bury(entry(name, rng.randrange(3), rng.randrange(50)))
            case 4:
                view.heard(name, now)
            case 5:
                view.age(now, 5.0, 15.0)
        view.check_invariants()
        rows = {row.entry.device_id for row in view.rows() if row.status is PeerStatus.ALIVE}
        assert rows == set(alive(view))


def test_a_view_that_contradicts_itself_is_noticed() -> None:
    view = view_of("a", "b")
    view._askable.reverse()
    with pytest.raises(InvariantError, match="can be asked is off"):
        view.check_invariants()
    view = view_of("a")
    view._peers["me"] = replace(view._peers["a"])
    with pytest.raises(InvariantError, match="holds the device itself"):
        view.check_invariants()
