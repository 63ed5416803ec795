"""Holds the law of a mesh against exact runs that none of its corrections was fitted on, and the runs' own making."""

from __future__ import annotations

from statistics import fmean

import pytest

from bench.law import errors, exact, runs
from bench.law.exact import Case

MEANT = {"wait": 0.03, "mean": 0.03, "p95": 0.05, "p99": 0.10}
TRIFLE = 0.002  # mean service times: with several slots and little load items wait no longer, and runs tell it badly
SIGMAS = 3.0
"""A run's own error is counted in, so many times: of some hundred figures none is then outside by chance alone."""


@pytest.mark.parametrize("name", ["held-1", "held-4"])
@pytest.mark.parametrize("figure", MEANT)
def test_predictions_are_as_good_as_they_are_said_to_be(name: str, figure: str) -> None:
    held = runs.read(name)
    assert len(held) >= 40
    for run, error in zip(held, errors.errors(held, figure), strict=True):
        own = run.errors[figure] / run.figures[figure]
        allowed = MEANT[figure] + SIGMAS * own + TRIFLE / run.figures[figure]
        assert abs(error) <= allowed, f"off by {error:.1%}, its own error {own:.1%}: {run}"


def test_the_page_tells_the_errors_of_the_committed_corrections() -> None:
    assert errors.table() in errors.PAGE.read_text("utf-8"), "run: python -m bench.law.fit --table"


def test_runs_are_of_the_cases_that_their_seeds_draw() -> None:
    for name, draw, servers, seed in (
        ("fit-1", runs.drawn, 1, 1),
        ("fit-4", runs.drawn, 4, 2),
        ("alone-1", runs.alone, 1, 5),
        ("alone-4", runs.alone, 4, 6),
        ("more-1", runs.held_out, 1, 3),
        ("more-4", runs.held_out, 4, 4),
        ("held-1", runs.held_out, 1, 8),
        ("held-4", runs.held_out, 4, 9),
    ):
        drawn = draw(servers, seed)
        for run in runs.read(name):
            assert (run.case, run.seed) == next(drawn), name


def test_one_server_simulated_two_ways_is_the_same_mesh() -> None:
    case = Case(8, 2, 2, 0.6, 4, 3.0, (1.0,))
    short = exact.simulate(case, 6_000, 500, seed=1)
    events = exact.several_servers(case, 6_000, 500, seed=2)
    assert fmean(short.latencies) == pytest.approx(fmean(events.latencies), rel=0.04)
    assert short.waited_share == pytest.approx(events.waited_share, rel=0.03)


def test_the_exact_simulation_is_erlangs_without_layers() -> None:
    made = exact.simulate(Case(10, 0, 0, 0.75, 1, 1.0, (1.0, 2.0, 3.0, 4.0)), 40_000, 2_000, seed=3)
    assert made.waited_share == pytest.approx(13.5 / 26.5, rel=0.04)  # Erlang C: see tests/core/test_mesh_law.py
    assert fmean(made.waits) == pytest.approx(13.5 / 26.5, rel=0.1)


def test_the_exact_simulation_shares_a_server_evenly() -> None:
    # no gain from several at once, and places for all: processor sharing, sojourn 1 / (1 - ρ) whatever the service
    made = exact.simulate(Case(10, 0, 0, 0.5, 0, 1.0, (1.0,) * 40), 20_000, 1_000, seed=4)
    assert fmean(made.latencies) == pytest.approx(2.0, rel=0.04)
    assert made.waited_share == 0.0
