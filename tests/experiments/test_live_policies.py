"""Policies on a live mesh: a small run, over real processes and a real broker."""

from __future__ import annotations

import pytest

from edge_agent.experiments.live_policies import CHOICES, live_policies_section


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
    assert float(two_choices["load of the slow"]) > float(two_choices["of the others"])
    assert int(judge["prompts"]) > 0
    assert judge["simulated, α"] == ""


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
