"""`edge_agent.wire.figures`; that the bounds are those of a real store is shown in tests/telemetry."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.wire.figures import DECIMALS, SIGNIFICANT_DIGITS, as_told, told
from tests.adapters.telemetry_samples import STATUS


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_telling_a_figure_again_changes_nothing(figure: float) -> None:
    assert told(told(figure)) == told(figure)
    assert abs(told(figure) - figure) <= abs(figure) * 10.0**-SIGNIFICANT_DIGITS * 5 + 10.0**-DECIMALS / 2


@pytest.mark.parametrize(
    ("figure", "as_told"), [(2 / 3, 0.6666666667), (123456.7890123, 123456.789), (1.23456e-9, 1.235e-9), (0.0, 0.0)]
)
def test_a_figure_has_ten_digits_and_at_most_twelve_behind_the_point(figure: float, as_told: float) -> None:
    assert told(figure) == as_told


def test_what_is_no_number_stays_so() -> None:
    assert told(math.inf) == math.inf
    assert math.isnan(told(math.nan))


def test_a_status_is_told_with_as_many_digits_as_every_store_keeps_and_else_as_it_is() -> None:
    exact = replace(STATUS, interval_s=3.0000000000001, requests_waiting_mean=1 / 3, stability_margin=-2 / 3)
    assert as_told(exact) == replace(
        STATUS, interval_s=3.0, requests_waiting_mean=0.3333333333, stability_margin=-0.6666666667
    )
