"""Each checker by itself sees its promise broken, when the safeguard behind it is taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_agent.core.settings import AgentSettings
from edge_agent.lab.simulator.checkers import EndsOnce
from edge_agent.lab.simulator.checkers.answers_kept import AnswersKept
from edge_agent.lab.simulator.checkers.base import Checker
from edge_agent.lab.simulator.checkers.bounds import Bounds
from edge_agent.lab.simulator.checkers.durable import Durable
from edge_agent.lab.simulator.checkers.fair import FairShares
from edge_agent.lab.simulator.checkers.first_come import FirstCome
from edge_agent.lab.simulator.checkers.in_time import InTime
from edge_agent.lab.simulator.checkers.invariants import Invariants
from edge_agent.lab.simulator.checkers.nothing_left import NothingLeft
from edge_agent.lab.simulator.checkers.only_wanted import OnlyWanted
from edge_agent.lab.simulator.checkers.served_once import ServedOnce
from edge_agent.lab.simulator.checkers.views_converge import ViewsConverge
from edge_agent.lab.simulator.faults.ablations import ABLATIONS, without
from edge_agent.lab.simulator.faults.run import FaultResult, SeedOutcome, run_seed

SEEDS = range(1, 201)
SHOWN_BY = {"deadline": 7, "kept-share": 18, "probe": 4, "receipt-timeout": 4}
"""The seed to begin at for safeguards whose want shows late. After a change of the core it may be another one."""


class Silent(EndsOnce):
    """Takes part without complaining, so that another checker's complaint is heard."""

    def at_rest(self, *_: object) -> None:
        return

    def after(self, *_: object) -> None:
        return


def first_found(safeguard: str, make: Callable[[AgentSettings], Checker]) -> FaultResult:
    kinds = ABLATIONS[safeguard].faults
    with without(safeguard):
        for seed in (*SEEDS[SHOWN_BY.get(safeguard, 1) - 1 :], *SEEDS):
            result = run_seed(seed, kinds, make_checkers=lambda settings: [Silent(), make(settings)])
            if result.outcome is not SeedOutcome.HELD:
                return result
    pytest.fail(f"no seed of {SEEDS} was caught without {safeguard}")


@pytest.mark.parametrize(
    ("safeguard", "make", "outcome"),
    [
        ("repeat-detection", lambda settings: ServedOnce(), SeedOutcome.SAFETY),
        ("cancel", lambda settings: OnlyWanted(), SeedOutcome.SAFETY),
        ("first-come", lambda settings: FirstCome(), SeedOutcome.SAFETY),
        ("share", FairShares, SeedOutcome.SAFETY),
        ("share-of-anybody", FairShares, SeedOutcome.SAFETY),
        ("pass", FairShares, SeedOutcome.SAFETY),
        ("turn", FairShares, SeedOutcome.SAFETY),
        ("yield-elsewhere", FairShares, SeedOutcome.SAFETY),
        ("cost-caps", Bounds, SeedOutcome.SAFETY),
        ("reserved-places", Bounds, SeedOutcome.SAFETY),
        ("kept-share", AnswersKept, SeedOutcome.SAFETY),
        ("deadline", lambda settings: InTime(), SeedOutcome.SAFETY),
        ("journal-before-receipt", lambda settings: Durable(), SeedOutcome.SAFETY),
        ("receipt-timeout", lambda settings: Invariants(), SeedOutcome.SAFETY),
        ("receipt-timeout", lambda settings: NothingLeft(), SeedOutcome.LIVENESS),
        ("probe", lambda settings: Invariants(), SeedOutcome.SAFETY),
        ("seeds", lambda settings: ViewsConverge(settings.view_size_max), SeedOutcome.LIVENESS),
    ],
)
def test_the_checker_alone_catches_it(
    safeguard: str, make: Callable[[AgentSettings], Checker], outcome: SeedOutcome
) -> None:
    result = first_found(safeguard, make)
    assert result.outcome is outcome, result.detail
    assert result.checker == make(AgentSettings()).name


@pytest.mark.parametrize(
    ("safeguard", "words"),
    [
        ("journal-before-answer", "before it was journalled"),
        ("restored-answers", "never reached its user"),
        ("receipt-timeout", "never ended"),
    ],
)
def test_a_prompt_that_does_not_end_once_is_named(safeguard: str, words: str) -> None:
    with without(safeguard):
        details = (run_seed(seed, make_checkers=lambda settings: [EndsOnce()]).detail for seed in SEEDS)
        assert any(words in detail for detail in details)
