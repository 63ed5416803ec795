"""Policies on a live mesh: a small run, over real processes and a real broker."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest

from edge_agent.lab.analysis.series import DeviceRecords, Intervals
from edge_agent.lab.experiments.live_policies import CHOICES, DEVICES, SLOW_DEVICES, _row, live_policies_section
from edge_agent.lab.experiments.live_run import LiveLoad, LiveResult


@pytest.mark.broker
@pytest.mark.long
async def test_a_live_run_of_each_kind_answers_prompts_and_stands_beside_the_simulated_figure() -> None:
    steps: list[tuple[int, int]] = []
    section = await live_policies_section(quick=True, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    two_choices, judge = (dict(zip(section.header, row, strict=True)) for row in section.rows)
    assert int(two_choices["prompts"]) > 0
    assert 3.0 < float(two_choices["latency, α"]) < 100.0  # three stages of one service each at the least
    assert float(two_choices["simulated, α"]) > 3.0
    assert all(0.0 < float(two_choices[column]) <= 1.0 for column in ("load of the slow", "of the others"))
    assert int(judge["prompts"]) > 0
    assert judge["simulated, α"] == ""


def busy(device_id: str, shares: list[float], lengths_s: list[float]) -> DeviceRecords:
    return DeviceRecords(
        device_id,
        intervals=Intervals(
            length_s=array("d", lengths_s), busy_share=array("d", shares), waiting_mean=array("d", shares)
        ),
    )


def test_a_row_tells_the_slow_devices_from_the_others_and_weighs_by_time() -> None:
    # given here: of a live run of four seconds chance says which of them are busier
    slow = [busy(f"device-{number}", [0.6, 0.9], [1.0, 2.0]) for number in range(1, SLOW_DEVICES + 1)]
    others = [busy(f"device-{number}", [0.3, 0.15], [1.0, 2.0]) for number in range(SLOW_DEVICES + 1, DEVICES + 1)]
    load = LiveLoad(DEVICES, 2, 2, "deterministic:0.1", 1.0, warm_up_s=1.0, measured_s=3.0)
    row = _row(CHOICES[9], LiveResult(load, (*slow, *others), 0, Counter()), 1.0)
    assert row[-3:] == ("0.80", "0.20", "0.35")  # 2 slow ones, 6 others


def test_every_built_in_policy_is_compared() -> None:
    from edge_agent.core.policies import BUILT_IN

    compared = {(choice.setting, choice.name.partition("(")[0]) for choice in CHOICES}
    defaults = {
        ("response_selection", "all"),
        ("join", "wait-for-all"),
        ("join", "quorum"),
        ("early_stop", "never"),
        ("layer_plan", "fixed"),
    }
    assert {(kind, name) for kind, names in BUILT_IN.items() for name in names} == compared | defaults
