"""The short form of `make fuzz`, with a new seed each time, which the failure prints."""

from __future__ import annotations

import random

import pytest

from tests.hostile import fuzz_codec

NEW_SEED = random.SystemRandom().randrange(2**31)


def check_bodies(seed: str, bodies: int) -> None:
    shard = fuzz_codec.run_shard(seed, bodies)
    assert shard.found == [], f"seed {seed}"
    assert len(shard.read) > 12, "bodies of nearly every kind were read"


@pytest.mark.parametrize("seed", ["0", str(NEW_SEED)])
def test_some_thousand_fuzzed_bodies_are_read_or_refused_and_nothing_else(seed: str) -> None:
    check_bodies(seed, 10_000)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_half_a_million_fuzzed_bodies_are_read_or_refused_and_nothing_else(part: int) -> None:
    check_bodies(f"{NEW_SEED}/{part}", fuzz_codec.SHARD)
