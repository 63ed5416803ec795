"""`scored` picks responses by what can be counted in them, and by the sizes of their models where these are known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.policies.response_features import ModelResponse, features
from edge_agent.core.policies.scored import Scored, scores
from edge_agent.core.policies.scored_weights import WITH_SIZES, WITHOUT_SIZES
from tests.core.mesh import QUIET, Mesh

PARIS = "The capital of France is Paris, which lies on the river Seine and has two million people."
PARIS_TOO = "Paris is the capital of France. It lies on the river Seine and has two million people."
PARIS_AGAIN = "France has its capital in Paris, which lies on the river Seine, and two million people live there."
LOOP = "Paris is the capital and " * 8
SORRY = "I'm sorry, but as an AI I have no opinion on the matter that you have asked me about."


def of(*texts: str, sizes: tuple[int | None, ...] = ()) -> list[ModelResponse]:
    return [ModelResponse(text, size) for text, size in zip(texts, sizes or (None,) * len(texts), strict=True)]


def test_each_feature_tells_what_it_is_named_after() -> None:
    found = features(of(PARIS, PARIS_TOO, SORRY, LOOP, PARIS * 2))
    assert found["length"][3] > 0 > found["length"][1]
    assert found["length_squared"] == pytest.approx([one * one for one in found["length"]])
    assert found["agreement"].index(min(found["agreement"])) == 2
    assert found["odd_phrases"][2] > 0 == min(found["odd_phrases"])
    assert found["repetition"][3] > 0.7
    assert found["repetition"][:3] == [0, 0, 0]
    assert found["refusal"] == [0, 0, 1, 0, 0]
    assert "size" not in found


def test_size_is_a_fraction_of_the_largest_and_there_only_if_all_are_known() -> None:
    assert features(of("a", "b", sizes=(1_000, 4_000)))["size"] == [0.25, 1.0]
    assert "size" not in features(of("a", "b", sizes=(1_000, None)))


def test_words_are_told_apart_where_none_are_marked() -> None:
    found = features(of("法国的首都是巴黎", "巴黎是法国的首都", "我只会做菜"))
    assert min(found["agreement"][:2]) > found["agreement"][2]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_odd_one_and_the_endless_one_go_whatever_the_order(order: tuple[int, ...]) -> None:
    texts = (PARIS, PARIS_TOO, SORRY[:50], LOOP)
    kept = Scored(2).choose(of(*(texts[place] for place in order)))
    assert {order[place] for place in kept} == {0, 1}


def test_the_larger_model_is_preferred_where_texts_are_alike() -> None:
    texts = (PARIS, PARIS_TOO, PARIS_AGAIN)
    for largest in range(3):
        sizes = [10**9] * 3
        sizes[largest] = 8 * 10**9
        assert Scored(1).choose(of(*texts, sizes=tuple(sizes))) == [largest]


def test_all_stay_if_there_are_no_more_than_wanted_and_equals_keep_their_order() -> None:
    assert Scored(3).choose(of(PARIS, SORRY)) == [0, 1]
    assert Scored(1).choose([]) == []
    assert Scored(2).choose(of(PARIS, PARIS, PARIS)) == [0, 1]


@given(st.lists(st.tuples(st.text(max_size=80), st.integers(1, 10**13) | st.none()), max_size=6), st.integers(1, 7))
def test_whatever_models_say_it_chooses_so_many_each_once(said: list[tuple[str, int | None]], kept: int) -> None:
    responses = [ModelResponse(text, size) for text, size in said]
    chosen = Scored(kept).choose(responses)
    assert len(chosen) == len(set(chosen)) == min(kept, len(responses))
    assert set(chosen) <= set(range(len(responses)))
    for values in features(responses).values():
        assert len(values) == len(responses)
        assert all(map(math.isfinite, values))


def test_the_weights_are_of_features_that_there_are() -> None:
    found = features(of(PARIS, PARIS_TOO, sizes=(1, 2)))
    assert set(WITH_SIZES) | set(WITHOUT_SIZES) <= set(found)
    assert "size" in WITH_SIZES
    assert "size" not in WITHOUT_SIZES
    assert scores({"length": [1.0, 2.0], "size": [0.5, 1.0]}, {"length": 2.0, "size": 4.0}) == [4.0, 8.0]


def test_a_device_keeps_the_response_of_the_largest_model_as_presence_tells_sizes() -> None:
    settings = replace(QUIET, layers=1, fanout=2, response_selection="scored(1)")
    parameters = {"d0": 1 * 10**9, "d1": 8 * 10**9, "d2": 2 * 10**9}
    mesh = Mesh(3, settings, parameters=parameters)
    mesh.say = lambda device, request: f"Paris, says {device}, is the capital of France."
    key = mesh.ask("d0")
    mesh.run()
    (decision,) = mesh.answer(key).provenance.decisions
    assert (decision.kind, decision.chosen) == ("response_selection", ("d1",))
