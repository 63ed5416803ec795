"""No shared part: six devices, each with its own broker, each in its own network namespace, over TLS.

`MOAMESH_TEST_ROUNDS=5` kills five pairs one after another and parts the network five times; by default one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.mesh.own_brokers import Asked, OwnBrokers, User, elapsed, own_brokers
from tests.support.polling import until

pytestmark = pytest.mark.broker

NAMES = tuple(f"device-{number}" for number in range(1, 7))
ROUNDS = int(os.environ.get("MOAMESH_TEST_ROUNDS", "1"))
UNDER_LOAD = 3  # more answers of each user: so long is asked between two blows


async def start_all(devices: OwnBrokers, seeds: tuple[str, ...] = ()) -> None:
    begun = time.monotonic()
    for name in devices.names:
        await devices.start(name, seeds)
        devices.admit_user(name)
    await devices.until_all_know(devices.names, "all devices know each other")
    print(f"six devices knew each other after {elapsed(begun)}")


async def more_answers(users: Iterable[User]) -> None:
    """Waits until each user that asks has had some more answers."""
    wanted = {user.device: user.answered + UNDER_LOAD for user in users if user.asking}
    await until(
        lambda: all(user.answered >= wanted.get(user.device, 0) for user in users), f"{UNDER_LOAD} more answers each"
    )


def check_answered(asked: list[Asked]) -> None:
    lost = [one for one in asked if not one.answered]
    assert not lost, f"{len(lost)} of {len(asked)} prompts were not answered in their deadline: {lost[:3]}"
    assert len(asked) >= UNDER_LOAD, "more_answers waited for this many answers of each user"
    worst = max(one.answers[0].end_to_end_latency_s for one in asked)
    print(f"{asked[0].device}: {len(asked)} prompts answered, the slowest in {worst:.1f} s")


@pytest.mark.long
async def test_any_two_devices_may_die_with_their_brokers_and_the_others_answer_every_prompt(tmp_path: Path) -> None:
    draws = random.Random()
    async with own_brokers(NAMES, tmp_path) as devices:  # no seeds: they find each other by multicast
        await start_all(devices)
        users, killed = devices.users, set[str]()
        for user in users.values():
            user.asking = True
        for _ in range(ROUNDS):
            doomed = draws.sample(NAMES, 2)
            killed.update(doomed)
            print(f"killing {doomed}")
            await more_answers(users.values())
            for name in doomed:
                users[name].asking = False
                await devices.kill(name)
                await more_answers(users.values())
            alive = [name for name in NAMES if name not in doomed]
            await devices.until_all_know(alive, "the survivors have given up the dead")
            for name in doomed:
                await devices.start(name)
            await devices.until_all_know(NAMES, "the revived are back")
            for name in doomed:
                users[name].asking = True
            await more_answers(users.values())
        for user in users.values():
            await user.end()
        for name, user in users.items():
            # What a device had accepted before it died it answers when it is back, in time as well.
            check_answered([one for one in user.asked if one.accepted or name not in killed])


@pytest.mark.long
async def test_a_partition_that_heals_loses_no_accepted_prompt_and_views_converge(tmp_path: Path) -> None:
    async with own_brokers(NAMES, tmp_path, mdns=False) as devices:
        await start_all(devices, seeds=NAMES[:2])
        users = devices.users
        for user in users.values():
            user.asking = True
        for number in range(ROUNDS):
            left, right = NAMES[number % 3 :: 2], tuple(set(NAMES) - set(NAMES[number % 3 :: 2]))
            await more_answers(users.values())
            devices.net.part(right)
            for half in (left, right):
                await devices.until_all_know(half, "each half has given up the other")
            await more_answers(users.values())
            devices.net.heal()
            begun = time.monotonic()
            await devices.until_all_know(NAMES, "all know each other again")
            print(f"the halves knew each other again {elapsed(begun)} after the partition")
            await more_answers(users.values())
        for user in devices.users.values():
            await user.end()
            check_answered(user.asked)
