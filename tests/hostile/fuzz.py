"""`python -m tests.hostile.fuzz`: exit status 0 if everything held, 1 if something was found.

Bodies go through the codec, steps through a core; each is cut into shards, whose seeds are the run's and their number.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.hostile import fuzz_codec, fuzz_core

SEED_MAX = 2**31
BUILD = Path("build/fuzz")


def main() -> int:
    """Fuzzes until so many bodies and steps are done."""
    arguments = _parser().parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(SEED_MAX)
    again = f"make fuzz BODIES={arguments.bodies} STEPS={arguments.steps} SEED={seed}"
    print(f"seed {seed}; again: {again}", flush=True)
    with ProcessPoolExecutor(arguments.workers) as pool:
        broken = _steps(pool, seed, arguments)
        found = [*_bodies(pool, seed, arguments)]
    for number, (what, body) in enumerate(found):
        BUILD.mkdir(parents=True, exist_ok=True)
        kept = BUILD / f"{seed}-{number}"
        kept.write_bytes(body)
        print(f"FOUND {what}\n  in {kept}: {body[:300]!r}")
    return 1 if found or broken else 0


def _steps(pool: ProcessPoolExecutor, seed: int, arguments: argparse.Namespace) -> int:
    began, done, broken = time.monotonic(), 0, 0
    shards = _shards(arguments.steps, fuzz_core.SHARD, seed, arguments.shard)
    for played in pool.map(fuzz_core.play, [name for name, _ in shards], [count for _, count in shards]):
        done += played.steps
        if played.found:
            broken += 1
            print(f"FOUND (shard {played.seed}) {played.found}", flush=True)
    print(f"{done:,} steps of {len(shards)} devices in {time.monotonic() - began:.0f} s, {broken} broken", flush=True)
    return broken


def _bodies(pool: ProcessPoolExecutor, seed: int, arguments: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    began, done, read = time.monotonic(), 0, Counter[str]()
    shards = _shards(arguments.bodies, fuzz_codec.SHARD, seed, arguments.shard)
    for shard in pool.map(fuzz_codec.run_shard, [name for name, _ in shards], [count for _, count in shards]):
        done += shard.bodies
        read += shard.read
        for what, body in shard.found:
            yield f"{what} (shard {shard.seed})", body
        if sys.stderr.isatty() or done % (4 * fuzz_codec.SHARD) == 0:
            print(f"{done:,} bodies, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    told = ", ".join(f"{kind} {count:,}" for kind, count in sorted(read.items()))
    print(f"{done:,} bodies in {time.monotonic() - began:.0f} s, {read.total():,} were read: {told}")


def _shards(total: int, size: int, seed: int, only: int | None) -> list[tuple[str, int]]:
    """(seed, how many) of each shard, or of the one that is asked for."""
    shards = [(f"{seed}/{at // size}", min(size, total - at)) for at in range(0, total, size)]
    return shards if only is None else shards[only : only + 1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--bodies", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, help="decides everything; by default a new one")
    parser.add_argument("--shard", type=int, help="only this one of the bodies and of the steps")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    return parser


if __name__ == "__main__":
    sys.exit(main())
