"""Declared speed-ups: what can be said, and what no engine does."""

from __future__ import annotations

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import SLOTS_MAX
from edge_agent.speed_up import parse_speed_up


def test_a_list_says_the_work_of_each_number_and_goes_on_with_its_last() -> None:
    curve = parse_speed_up("1, 1.7,2.2")
    assert [curve.factor(n) for n in (1, 2, 3, 4, 64)] == [1.0, 1.7, 2.2, 2.2, 2.2]
    assert curve.share(2) == pytest.approx(0.85)
    assert parse_speed_up(str(curve)) == curve


def test_amdahls_law_goes_from_no_gain_to_all_of_it() -> None:
    assert parse_speed_up("amdahl:1").factor(8) == 1.0
    assert parse_speed_up("amdahl:0").factor(8) == 8.0
    assert parse_speed_up("amdahl:0.5").factor(4) == pytest.approx(4 / 2.5)
    assert parse_speed_up("none").factor(8) == 1.0


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "2",
        "1,3",
        "1,2,1.5",
        "1,nan",
        "1,inf",
        "1,,2",
        "amdahl:",
        "amdahl:-1",
        "amdahl:2",
        "amdahl:nan",
        "linear:1",
        "1,1.5:2",
        ",".join(["1"] * (SLOTS_MAX + 1)),
    ],
)
def test_anything_else_is_refused_in_one_line(spec: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_speed_up(spec)
    assert "\n" not in str(refused.value)
