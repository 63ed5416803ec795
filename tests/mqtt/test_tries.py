"""Which address is tried next, and after what pause."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from edge_agent.mqtt import BrokerUrl, Pace, Tries
from edge_agent.mqtt import tries as tries_module

ONE = (BrokerUrl("a", 1883, False),)
THREE = tuple(BrokerUrl(name, 1883, False) for name in "abc")


class Longest(random.Random):
    """Draws the first address and the longest pause; or the shortest one."""

    def __init__(self, *, shortest: bool = False) -> None:
        super().__init__(0)
        self.shortest = shortest

    def randrange(self, *_args: int) -> int:
        return 0

    def uniform(self, low: float, high: float) -> float:
        return low if self.shortest else high


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were to be made; none is waited for."""
    made: list[float] = []

    async def within(work: object, timeout_s: float) -> None:
        work.close()  # type: ignore[attr-defined]  # a coroutine
        made.append(round(timeout_s, 3))

    monkeypatch.setattr(tries_module, "within", within)
    return made


async def urls(tries: Tries, count: int, each: Callable[[int], None] = lambda _: None) -> str:
    seen = ""
    async for url in tries:
        seen += url.host
        if len(seen) == count:
            return seen
        each(len(seen))
    return seen


@pytest.mark.parametrize(
    ("home", "shortest", "before", "seen", "expected"),
    [
        (ONE, False, 0, "aaaaaa", [1.0, 2.0, 4.0, 5.0, 5.0]),
        (THREE, False, 0, "abcabc", [1.0, 1.0, 1.0, 2.0, 2.0]),
        (ONE, True, 0, "aaaaaa", [0.5, 1.0, 2.0, 2.5, 2.5]),
        (ONE, False, 1, "aaaaaa", [2.0, 4.0, 5.0, 5.0, 5.0]),
    ],
    ids=["doubles up to the longest", "doubles with each round", "a part is always waited", "not from the first"],
)
async def test_pauses_grow_with_each_round_of_the_addresses(
    home: tuple[BrokerUrl, ...], shortest: bool, before: int, seen: str, expected: list[float], pauses: list[float]
) -> None:
    tries = Tries(home, Pace(1.0, 5.0, 60.0, 0.5, before), Longest(shortest=shortest))
    assert await urls(tries, 6) == seen
    assert pauses == expected


async def test_a_connection_that_counts_begins_anew_and_a_slow_trouble_waits_longer(pauses: list[float]) -> None:
    tries = Tries(ONE, Pace(1.0, 5.0, 60.0), Longest())

    def each(number: int) -> None:
        if number == 4:
            tries.well()
        tries.slow = number > 6

    await urls(tries, 11, each)
    assert pauses == [1.0, 2.0, 4.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


async def test_a_repeat_goes_to_the_same_address_at_once_and_counts_as_none(pauses: list[float]) -> None:
    tries = Tries(THREE, Pace(1.0, 5.0, 60.0), Longest())
    assert await urls(tries, 4, lambda number: tries.repeat() if number == 2 else None) == "abbc"
    assert pauses == [1.0, 1.0]


async def test_who_stands_aside_comes_back_no_sooner(pauses: list[float]) -> None:
    tries = Tries(ONE, Pace(1.0, 5.0, 60.0), Longest())
    await urls(tries, 3, lambda number: tries.wait_for(30.0) if number == 1 else None)
    assert 29.0 < pauses[0] <= 30.0


async def test_a_stop_ends_a_pause_and_has_no_other_try_follow() -> None:
    tries = Tries(ONE, Pace(3600.0, 3600.0, 3600.0, 1.0), random.Random(0))
    asyncio.get_running_loop().call_soon(tries.stop)
    assert await urls(tries, 3) == "a"
    assert await urls(tries, 3) == "", "nor does a loop that is begun anew"
