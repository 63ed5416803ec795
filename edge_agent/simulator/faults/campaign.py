"""Many fault seeds one after another, up to the first that breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, final

from edge_agent.core.errors import SettingsError
from edge_agent.simulator.faults.ablations import without
from edge_agent.simulator.faults.plan import FaultKind
from edge_agent.simulator.faults.run import FaultResult, Verdict, run_seed

EXIT_CODES = {Verdict.HELD: 0, Verdict.CRASH: 3, Verdict.SAFETY: 4, Verdict.LIVENESS: 5}
"""How `moamesh simulate --faults` ends; 2 is for wrong input."""


@final
@dataclass(frozen=True, slots=True)
class Campaign:
    """What came of a range of seeds. `found` is the first violation, with its trace."""

    seeds: range
    seeds_run: int
    events: int
    accepted: int
    found: FaultResult | None

    @property
    def exit_code(self) -> int:
        """The exit status that tells crash, safety and liveness apart."""
        return EXIT_CODES[self.found.verdict] if self.found else 0

    def as_object(self) -> dict[str, Any]:
        """Returns the figures for JSON."""
        found = self.found
        return {
            "seeds": [self.seeds.start, self.seeds.stop - 1],
            "seeds_run": self.seeds_run,
            "events": self.events,
            "prompts_accepted": self.accepted,
            "violations": []
            if found is None
            else [
                {
                    "seed": found.seed,
                    "kind": found.verdict.value,
                    "checker": found.checker,
                    "detail": found.detail,
                    "trace_hash": found.trace_hash,
                }
            ],
        }


def run_campaign(
    seeds: range,
    allowed: tuple[FaultKind, ...],
    *,
    safeguard: str | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Campaign:
    """Runs seeds until one breaks a promise, then runs that one again to keep its trace.

    Args:
        safeguard: name of a safeguard to do without.
        progress: called with the number of seeds run.

    Raises:
        SettingsError: there is no such safeguard.
    """
    events = accepted = 0
    with without(safeguard) if safeguard else nullcontext():
        for done, seed in enumerate(seeds, start=1):
            result = run_seed(seed, allowed)
            events += result.events
            accepted += result.accepted
            if result.verdict is not Verdict.HELD:
                return Campaign(seeds, done, events, accepted, run_seed(seed, allowed, keep_trace=True))
            progress(done)
    return Campaign(seeds, len(seeds), events, accepted, None)


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
