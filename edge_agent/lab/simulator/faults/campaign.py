"""Many fault seeds, in one process or in several, up to the first that breaks a promise or to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.faults.ablations import without
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.run import FaultResult, SeedOutcome, run_seed
from edge_agent.lab.workers import worker_pool

EXIT_CODES = {SeedOutcome.HELD: 0, SeedOutcome.CRASH: 3, SeedOutcome.SAFETY: 4, SeedOutcome.LIVENESS: 5}
"""How `moamesh simulate --faults` ends; 2 is for wrong input."""

JOBS_MAX = 256  # processes: more than any one machine has cores for
_CHUNK = 25  # seeds that a process takes at a time: seconds, so that a bar moves and no process idles at the end
_FIRST_SEEDS = 10  # named for each broken promise


@final
@dataclass(slots=True)
class Broken:
    """One promise that seeds broke: how many, the first ones, and what the first one said."""

    checker: str
    outcome: SeedOutcome
    detail: str
    trace_hash: str
    count: int = 0
    seeds: list[int] = field(default_factory=list)

    def as_object(self) -> dict[str, Any]:
        """Returns the figures for JSON."""
        return {
            "checker": self.checker,
            "kind": self.outcome.value,
            "count": self.count,
            "first_seeds": self.seeds,
            "detail": self.detail,
            "trace_hash": self.trace_hash,
        }


@final
@dataclass(slots=True)
class Tally:
    """Sums over seeds."""

    seeds_run: int = 0
    events: int = 0
    accepted: int = 0
    ended: int = 0
    told: int = 0
    excused: int = 0
    broken: dict[str, Broken] = field(default_factory=dict)

    def add(self, result: FaultResult) -> None:
        """Takes one seed's result."""
        self.seeds_run += 1
        self.events += result.events
        self.accepted += result.accepted
        self.ended += result.ended
        self.told += result.told
        self.excused += result.excused
        if result.outcome is not SeedOutcome.HELD:
            broken = Broken(
                result.checker, result.outcome, result.detail, result.trace_hash, count=1, seeds=[result.seed]
            )
            self._broke(broken)

    def merge(self, other: Tally) -> None:
        """Takes the sums over later seeds."""
        for name in ("seeds_run", "events", "accepted", "ended", "told", "excused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for broken in other.broken.values():
            self._broke(broken)

    def _broke(self, news: Broken) -> None:
        known = self.broken.get(news.checker)
        if known is None:
            self.broken[news.checker] = news
        else:
            known.count += news.count
            known.seeds = [*known.seeds, *news.seeds][:_FIRST_SEEDS]

    @property
    def first_seed(self) -> int | None:
        """The first seed that broke a promise."""
        return min((broken.seeds[0] for broken in self.broken.values()), default=None)


@final
@dataclass(frozen=True, slots=True)
class Campaign:
    """What came of a range of seeds. `found` is the first violation, with its trace."""

    seeds: range
    tally: Tally
    found: FaultResult | None

    @property
    def seeds_run(self) -> int:
        """How many seeds were run."""
        return self.tally.seeds_run

    @property
    def events(self) -> int:
        """How many events all agents handled."""
        return self.tally.events

    @property
    def accepted(self) -> int:
        """How many prompts were accepted."""
        return self.tally.accepted

    @property
    def exit_code(self) -> int:
        """The exit status that tells crash, safety and liveness apart."""
        return EXIT_CODES[self.found.outcome] if self.found else 0

    def as_object(self) -> dict[str, Any]:
        """Returns the figures for JSON."""
        tally = self.tally
        return {
            "seeds": [self.seeds.start, self.seeds.stop - 1],
            "seeds_run": tally.seeds_run,
            "events": tally.events,
            "prompts_accepted": tally.accepted,
            "prompts_ended": tally.ended,
            "prompts_told": tally.told,
            "prompts_excused": tally.excused,
            "first_failing_seed": tally.first_seed,
            "violations": [broken.as_object() for broken in tally.broken.values()],
        }


def check_jobs(jobs: int) -> None:
    """Raises `SettingsError` if there cannot be so many processes."""
    if not 1 <= jobs <= JOBS_MAX:
        raise SettingsError(f"jobs must be 1 to {JOBS_MAX}, not {jobs}")


def run_campaign(
    seeds: range,
    allowed: tuple[FaultKind, ...],
    *,
    safeguard: str | None = None,
    jobs: int = 1,
    go_on: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Campaign:
    """Runs seeds until one breaks a promise, then runs that one again to keep its trace.

    Args:
        safeguard: name of a safeguard to do without.
        jobs: processes to run them in. Each must be able to import this package.
        go_on: run every seed, whatever breaks.
        progress: called with the number of seeds run.

    Raises:
        SettingsError: there is no such safeguard, or so many processes cannot be.
    """
    check_jobs(jobs)
    tally = Tally()
    for part in _tallies(seeds, partial(_run_chunk, allowed, safeguard, go_on), jobs):
        tally.merge(part)
        progress(tally.seeds_run)
        if tally.broken and not go_on:
            break
    first = tally.first_seed
    if first is None:
        return Campaign(seeds, tally, None)
    with without(safeguard) if safeguard else nullcontext():
        return Campaign(seeds, tally, run_seed(first, allowed, keep_trace=True))


def _tallies(seeds: range, run: Callable[[range], Tally], jobs: int) -> Iterator[Tally]:
    """Yields the sums of the seeds' parts, in their order."""
    if jobs == 1:
        yield from (run(seeds[at : at + 1]) for at in range(len(seeds)))
        return
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    with worker_pool(jobs) as pool:
        try:
            yield from pool.map(run, chunks)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _run_chunk(allowed: tuple[FaultKind, ...], safeguard: str | None, go_on: bool, seeds: range) -> Tally:
    tally = Tally()
    with without(safeguard) if safeguard else nullcontext():
        for seed in seeds:
            tally.add(run_seed(seed, allowed))
            if tally.broken and not go_on:
                break
    return tally


def parse_seeds(text: str) -> range:
    """Reads `7` or `1..10000`, both ends included.

    Raises:
        SettingsError: it has another form.
    """
    first, dots, last = text.partition("..")
    try:
        seeds = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        seeds = range(0)
    if not seeds or seeds.start < 0:
        raise SettingsError(f"seeds must be a number or a range such as 1..10000, not {text!r}")
    return seeds
