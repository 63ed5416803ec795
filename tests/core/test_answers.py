"""Finished answers for repeated prompts."""

from __future__ import annotations

import pytest

from edge_agent.core.answers import AnswersKept
from edge_agent.core.errors import InvariantError
from edge_agent.core.messages import Answer, Provenance
from edge_agent.core.states import Outcome

MADE_BY = Provenance("d0", 0, 0, (), None, (), (), (), 0, 0)


def answer(text: str) -> Answer:
    return Answer("p1", "d0", Outcome.ANSWERED, text, "", 1.0, MADE_BY)


def test_an_answer_is_kept_for_its_time_and_not_longer() -> None:
    kept = AnswersKept(count_max=10, kept_s=100.0)
    kept.add("a", answer("one"), now=5.0)
    assert kept.get("a", 104.9) == answer("one")
    assert kept.get("a", 105.0) is None
    assert kept.get("b", 6.0) is None


def test_the_oldest_answer_is_forgotten_first_when_there_are_too_many() -> None:
    kept = AnswersKept(count_max=2, kept_s=100.0)
    for number, key in enumerate("abc"):
        kept.add(key, answer(key), now=float(number))
    assert [kept.get(key, 3.0) is not None for key in "abc"] == [False, True, True]
    kept.check_invariants()


def test_answers_past_their_time_are_dropped_when_a_new_one_comes() -> None:
    kept = AnswersKept(count_max=10, kept_s=100.0)
    for key in "abc":
        kept.add(key, answer(key), now=0.0)
    kept.add("d", answer("d"), now=200.0)
    assert len(kept._answers) == 1


def test_a_prompt_answered_again_after_its_time_is_the_newest_not_the_oldest() -> None:
    kept = AnswersKept(count_max=2, kept_s=100.0)
    kept.add("a", answer("first"), now=0.0)
    kept.add("b", answer("b"), now=50.0)
    kept.add("a", answer("second"), now=120.0)  # a's first answer was past its time: it was worked on again
    kept.add("c", answer("c"), now=121.0)
    assert kept.get("a", 122.0) == answer("second")
    assert kept.get("b", 122.0) is None


def test_more_answers_than_may_be_kept_are_noticed() -> None:
    kept = AnswersKept(count_max=1, kept_s=100.0)
    kept.add("a", answer("a"), now=0.0)
    kept._answers["b"] = (0.0, answer("b"))
    with pytest.raises(InvariantError, match="more answers"):
        kept.check_invariants()
