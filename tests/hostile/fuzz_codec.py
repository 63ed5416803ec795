"""So many fuzzed bodies through the codec, in shards that each have a seed of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.hostile.bodies import Bodies
from tests.hostile.check_codec import ViolationError, check, check_cost

SHARD = 50_000  # bodies: what one finds is found again in seconds
COST_EVERY = 997  # counting the work of one body costs ten times as much as to read it
LARGE = 50_000  # bytes: those are counted each
FOUND_MAX = 5  # of a shard: one defect is met again and again


@dataclass
class Shard:
    """What became of the bodies of one shard."""

    seed: str
    bodies: int = 0
    read: Counter[str] = field(default_factory=Counter)
    """How many were read as what."""
    found: list[tuple[str, bytes]] = field(default_factory=list)
    """What does not hold, each with the body that shows it."""


def run_shard(seed: str, bodies: int = SHARD) -> Shard:
    """Checks `bodies` bodies of this seed."""
    shard, source = Shard(seed), Bodies(seed)
    seen: set[str] = set()
    for number in range(bodies):
        body = source.next()
        shard.bodies += 1
        try:
            if read := check(body):
                shard.read[read] += 1
                source.was_read()
            if number % COST_EVERY == 0 or len(body) > LARGE:
                check_cost(body)
        except ViolationError as violation:
            what = str(violation)
            if what[:60] not in seen:
                seen.add(what[:60])
                shard.found.append((what, body))
                if len(shard.found) >= FOUND_MAX:
                    break
    return shard
