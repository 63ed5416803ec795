"""Who may hold how much: shares, the reserve, who is over, and the crowd that nobody can tell apart."""

from __future__ import annotations

import random

import pytest

from edge_agent.core.shares import Shares, Shortage, device_holder, user_holder


def fill(shares: Shares, holder: str, count: int = 1_000, size: int = 0, work: int = 0) -> int:
    """Has a holder take what it may; returns how many things that were."""
    for taken in range(count):
        if shares.shortage(holder, size, work) is not None:
            return taken
        shares.take(holder, size, work)
    return count


@pytest.mark.parametrize(
    ("share", "alone", "later"), [(0.25, 24, 8), (0.5, 16, 16), (0.75, 24, 8), (1.0, 32, 0), (0.01, 31, 1)]
)
def test_one_alone_takes_all_but_a_reserve_which_others_find(share: float, alone: int, later: int) -> None:
    shares = Shares(share, 32, 1_000, 1_000)
    assert fill(shares, "d1") == alone
    assert fill(shares, "d2") == later


@pytest.mark.parametrize(("size", "work"), [(30, 0), (0, 30)], ids=["bytes", "work"])
def test_bytes_and_work_are_shared_as_places_are(size: int, work: int) -> None:
    shares = Shares(0.25, 1_000, 1_200, 1_200)
    assert fill(shares, "d1", size=size, work=work) == 30
    assert shares.shortage("d1", size, work) is Shortage.SHARE
    assert fill(shares, "d2", size=size, work=work) == 10
    assert shares.shortage("d3", size, work) is Shortage.FULL


def test_those_who_have_much_grow_no_more_while_others_have_the_rest() -> None:
    shares = Shares(0.25, 32)
    fill(shares, "d1")
    for number in range(8):
        fill(shares, f"other{number}", 1)
    for _ in range(8):
        shares.give_back("d1")
        assert shares.shortage("d1") is Shortage.SHARE, "32 places, of which others have 8: 16 are left, not 24"
    shares.give_back("d1")
    assert shares.shortage("d1") is None


def test_the_first_thing_of_somebody_is_taken_whatever_it_weighs() -> None:
    shares = Shares(0.25, 32, 1_000, 100)
    assert shares.shortage("d1", 10, 5_000) is None, "nothing else is there: refused now, it would be refused for ever"
    shares.take("d1", 10, 5_000)
    assert shares.is_over("d1")
    assert shares.shortage("d2", 10, 1) is Shortage.FULL
    shares.give_back("d1", 10, 5_000)
    assert not shares.is_over("d1")


def test_who_is_refused_for_its_share_is_over_it() -> None:
    shares = Shares(0.25, 16)
    for number in range(8):
        fill(shares, f"other{number}", 1)
    assert fill(shares, "d1") == 4
    assert shares.is_over("d1")
    assert not any(shares.is_over(f"other{number}") for number in range(8))


def test_what_yields_has_one_place_of_its_own_and_takes_nothing_of_its_devices_share() -> None:
    shares = Shares(0.25, 16)
    assert shares.is_over(device_holder("d1", yields=True)), "its first one, too, is passed in line"
    for number in range(11):
        fill(shares, f"other{number}", 1)
    assert fill(shares, device_holder("d1", yields=True)) == 1
    assert shares.is_over(device_holder("d1", yields=True))
    assert fill(shares, device_holder("d1")) == 4, "the whole share, and the last place of all"
    assert not shares.is_over(device_holder("d1"))


def test_the_nameless_count_by_client_and_leave_the_reserve_all_together() -> None:
    assert user_holder("user.alice", "phone") == user_holder("user.alice", "0")
    assert user_holder("me", "phone") != user_holder("me", "0")
    shares = Shares(0.25, 32)
    taken = sum(fill(shares, user_holder("me", f"c{number}"), 1) for number in range(100))
    assert taken == 24
    assert fill(shares, "d1") == 8


def test_no_user_is_taken_for_a_device() -> None:
    assert user_holder("kitchen", "0") != device_holder("kitchen")


def test_any_coming_and_going_is_counted_right() -> None:
    rng = random.Random(7)
    shares = Shares(0.25, 16, 500, 500)
    inside: list[tuple[str, int, int]] = []
    for _ in range(5_000):
        if rng.random() < 0.6:
            one = (rng.choice(("d1", "d2", "d3~", "me/a", "me/b", "user.x/")), rng.randrange(80), rng.randrange(80))
            if shares.shortage(*one) is None:
                shares.take(*one)
                inside.append(one)
        elif inside:
            shares.give_back(*inside.pop(rng.randrange(len(inside))))
        assert shares.contradiction() == ""
        assert shares.used == (len(inside), sum(size for _, size, _ in inside), sum(work for _, _, work in inside))
        assert shares.used[0] <= 16
    for one in inside:
        shares.give_back(*one)
    assert not shares.has_over
