"""The growth of queues above utilisation 1, against special cases and the simulated core."""

from __future__ import annotations

import pytest

from edge_agent.lab.analysis.overload import excess_hz, queue_growth_hz
from edge_agent.lab.experiments.simulated import simulate, slope
from edge_agent.lab.simulator.load.scenario import Scenario


def test_a_stable_mesh_does_not_grow():
    assert queue_growth_hz(1.0, 2, 2, 0.99 / 7) == 0.0


def test_without_layers_all_items_arrive_at_the_users_pace():
    assert queue_growth_hz(0.5, 0, 0, 2.6) == pytest.approx(excess_hz(0.5, 0, 0, 2.6)) == pytest.approx(0.6)


def test_one_layer_has_a_closed_form():
    # items arrive at a, of which lambda / (alpha a) are aggregations: a^2 - lambda (k+1) a - lambda / alpha = 0
    rate_hz, first = 0.325, 0.325 * 3
    arriving = (first + (first**2 + 4 * rate_hz) ** 0.5) / 2
    assert queue_growth_hz(1.0, 1, 2, rate_hz) == pytest.approx(arriving - 1.0)


def test_the_simulated_mesh_grows_at_that_rate_and_not_at_the_plain_excess():
    run = simulate(Scenario(devices=8, layers=1, fanout=2, utilisation=1.5, prompts=4000, seed=3))
    expected = queue_growth_hz(1.0, 1, 2, run.scenario.rate_hz)
    assert run.growth_hz == pytest.approx(expected, rel=0.08)
    assert excess_hz(1.0, 1, 2, run.scenario.rate_hz) > 1.2 * expected


def test_a_slope_is_that_of_least_squares():
    assert slope([0, 1, 2], [1, 2, 6]) == pytest.approx(2.5)
    assert slope([1], [1]) == 0.0
