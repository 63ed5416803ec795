"""The short form of `make fuzz`, with a new seed each time, which the failure prints."""

from __future__ import annotations

import random

import pytest

from tests.hostile import fuzz_codec, fuzz_core

NEW_SEED = str(random.SystemRandom().randrange(2**31))
# Not in a test's name: processes that run tests side by side must call them the same.
SEEDS = pytest.mark.parametrize("seed", [*"012", pytest.param(NEW_SEED, id="new")])


def check_bodies(seed: str, bodies: int) -> None:
    shard = fuzz_codec.run_shard(seed, bodies)
    assert shard.found == [], f"seed {seed}"
    assert len(shard.read) > 10, "bodies of nearly every kind were read"


@SEEDS
def test_some_thousand_fuzzed_bodies_are_read_or_refused_and_nothing_else(seed: str) -> None:
    check_bodies(seed, 5_000)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_half_a_million_fuzzed_bodies_are_read_or_refused_and_nothing_else(part: int) -> None:
    check_bodies(f"{NEW_SEED}/{part}", fuzz_codec.SHARD)


@SEEDS
def test_a_device_among_strangers_keeps_every_promise(seed: str) -> None:
    assert fuzz_core.play(seed).found == "", f"seed {seed}"


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_devices_among_strangers_keep_every_promise_for_long(part: int) -> None:
    found = [played.found for number in range(10) if (played := fuzz_core.play(f"{NEW_SEED}/{part}/{number}")).found]
    assert found == [], f"seed {NEW_SEED}"
