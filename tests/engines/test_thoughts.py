"""Thoughts are taken out of a text, however it is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engines.thoughts import Thoughts

CASES = {
    "none": ("Paris.", "Paris.", ""),
    "before the answer": ("<think>France?</think>Paris.", "Paris.", "France?"),
    "with white space around": ("\n<think>\nFrance?\n</think>\n\nParis.", "Paris.", "France?"),
    "never closed": ("<think>France? Paris or", "", "France? Paris or"),
    "nothing but thoughts": ("<think>France?</think>\n", "", "France?"),
    "empty": ("<think></think>Paris.", "Paris.", ""),
    "a mark within the answer": ("Write <think> first.", "Write <think> first.", ""),
    "a mark that is another": ("<thinker> Rodin", "<thinker> Rodin", ""),
    "the beginning of a mark": ("<thi", "<thi", ""),
    "white space": ("  \n", "", ""),
}


@pytest.mark.parametrize(("text", "answer", "thought"), CASES.values(), ids=CASES)
@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_thoughts_before_an_answer_are_kept_apart(text: str, answer: str, thought: str, cuts: list[int]) -> None:
    at = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    thoughts = Thoughts()
    shown = [thoughts.push(text[begin:end]) for begin, end in itertools.pairwise(at)]
    assert "".join([*shown, thoughts.finish()]) == answer
    assert thoughts.text.strip() == thought


def test_a_text_that_begins_within_the_thoughts_needs_to_be_known_to() -> None:
    thoughts = Thoughts(inside=True)
    assert thoughts.push("France?</think>Paris.") + thoughts.finish() == "Paris."
    assert thoughts.text == "France?"


def test_thoughts_without_end_are_bounded() -> None:
    thoughts = Thoughts()
    thoughts.push("<think>")
    for _ in range(20):
        thoughts.push("x" * 100_000)
    assert len(thoughts.text) <= 256 * 1024
