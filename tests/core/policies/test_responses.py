"""What the text-only policies make of a layer's responses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.errors import SettingsError
from edge_agent.core.policies import Policies, make_policies
from edge_agent.core.policies.response_features import ModelResponse
from edge_agent.core.policies.text_similarity import LOOKED_AT_CHARACTERS_MAX, similarities
from edge_agent.core.settings import AgentSettings

PARIS = "The capital of France is Paris, on the river Seine."
PARIS_TOO = "Paris, on the Seine, is the capital of France."
PARIS_SHORT = "The capital of France is Paris."
OFF_TOPIC = "Sorry, I can only help you with cooking recipes!"
LYON = "Lyon lies where Rhône and Saône meet and has been the seat of everything since Roman days."


def policies(**names: str) -> Policies:
    return make_policies(AgentSettings(**names))  # type: ignore[arg-type]  # names of settings that hold texts


def chosen(selection: str, *texts: str) -> list[int]:
    """What a response selection keeps of these texts, whose models' sizes nobody knows."""
    return policies(response_selection=selection).response_selection.choose([ModelResponse(text) for text in texts])


def test_consensus_keeps_what_several_say_alike_and_drops_the_odd_one_out() -> None:
    assert set(chosen("consensus(2)", PARIS, OFF_TOPIC, PARIS_TOO)) == {0, 2}
    assert 1 not in chosen("consensus(3)", PARIS, LYON, PARIS_TOO, PARIS_SHORT)


def test_consensus_gives_the_most_agreed_with_first() -> None:
    assert chosen("consensus(1)", OFF_TOPIC, PARIS_SHORT, PARIS) in ([1], [2])
    assert chosen("consensus(1)", "abc def", "abc def ghi", "def ghi jkl") == [1]


def test_consensus_of_two_or_fewer_keeps_them_all() -> None:
    assert chosen("consensus(1)") == []
    assert chosen("consensus(1)", PARIS) == [0]
    assert chosen("consensus(1)", PARIS, OFF_TOPIC) == [0, 1]


def test_agreement_stops_when_responses_say_nearly_the_same_and_only_then() -> None:
    stops = policies(early_stop="agreement").early_stop.stops
    assert stops(1, [PARIS, PARIS, PARIS.upper()])
    assert stops(1, [PARIS, PARIS_TOO])
    assert not stops(1, [PARIS, PARIS_TOO, OFF_TOPIC])
    assert not stops(1, [PARIS, LYON])
    assert not stops(1, [PARIS])
    assert not stops(1, [])
    assert not policies(early_stop="agreement(0.99)").early_stop.stops(1, [PARIS, PARIS_TOO])


def test_similarity_works_without_blanks_between_words() -> None:
    same, other = "法国的首都是巴黎，位于塞纳河畔。", "对不起，我只会做菜。"
    table = similarities([same, same[:-3], other])
    assert table[0][1] > 0.6 > 0.1 > table[0][2]


@given(st.lists(st.text(max_size=60), max_size=6))
def test_similarity_is_symmetric_between_0_and_1_and_1_for_the_same(texts: list[str]) -> None:
    table = similarities([*texts, *texts])
    for row in range(len(texts)):
        assert table[row][row + len(texts)] == 1.0
        for column in range(len(texts)):
            assert 0.0 <= table[row][column] == table[column][row] <= 1.0


def test_only_the_beginning_of_a_huge_text_is_compared() -> None:
    start = "word " * (LOOKED_AT_CHARACTERS_MAX // 5 + 1)
    assert similarities([start + "a" * 10_000, start + "b" * 10_000])[0][1] > 0.9


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("response_selection", "all(2)", "all takes no argument"),
        ("response_selection", "consensus", "needs s, the responses to keep, 1 to 17"),
        ("response_selection", "judge", "needs s, the responses to keep, 1 to 17"),
        ("response_selection", "judge(0)", "1 to 17"),
        ("response_selection", "scored", "needs s, the responses to keep, 1 to 17"),
        ("early_stop", "never(1)", "never takes no argument"),
        ("early_stop", "judge(1)", "judge takes no argument"),
        ("early_stop", "agreement(0)", "needs a similarity, above 0 and at most 1"),
        ("join", "quorum", "needs r, the responses, 1 to 17"),
        ("join", "wait-for-all(1)", "takes no argument"),
        ("layer_plan", "fixed(1)", "fixed takes no argument"),
        ("layer_plan", "adaptive(0.1)", "needs a utilisation, above 0.2 and at most 1"),
        ("layer_plan", "adaptive(much)", "needs a utilisation"),
    ],
)
def test_a_wrong_argument_is_refused_in_words(kind: str, name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"{kind}.*{words}"):
        policies(**{kind: name})
