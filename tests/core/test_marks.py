"""What stands on top of an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core.marks import finish_reason, prompt_tokens_cut
from edge_agent.core.messages import Contribution, FinishReason
from tests.core.mesh import Mesh


@pytest.mark.parametrize("reason", FinishReason)
def test_why_an_answer_ends_is_what_its_aggregation_says(reason: FinishReason) -> None:
    mesh = Mesh(3)
    key = mesh.ask("d0", layers=1, fanout=1)
    mesh.run()
    answer = mesh.answer(key)
    made = answer.provenance.aggregation
    assert made is not None
    assert finish_reason(answer) is FinishReason.STOP
    told = replace(made, finish_reason=reason, input_tokens_cut=7)
    changed = replace(answer, provenance=replace(answer.provenance, aggregation=told))
    assert (finish_reason(changed), prompt_tokens_cut(changed)) == (reason, 7)
    assert finish_reason(replace(changed, partial=True)) is FinishReason.LENGTH


def test_an_answer_whose_makers_were_left_out_says_nothing_of_them() -> None:
    mesh = Mesh(2)
    key = mesh.ask("d0", layers=0)
    mesh.run()
    answer = mesh.answer(key)
    bare = replace(answer, provenance=replace(answer.provenance, aggregation=None))
    assert (finish_reason(bare), prompt_tokens_cut(bare)) == (FinishReason.STOP, 0)


def test_a_contribution_of_before_ended_by_itself() -> None:
    assert Contribution("d0", "m", 0.0, 1.0, 3, 4).finish_reason is FinishReason.STOP
