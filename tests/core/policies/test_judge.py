"""One LLM call after a layer picks the best responses and may end the layers; without a judgement all goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.judging import (
    JUDGE_INSTRUCTION,
    JUDGED_CHARACTERS_MAX,
    Judgement,
    judge_chat,
    read_judgement,
)
from edge_agent.core.messages import Answer
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh

JUDGING = replace(QUIET, response_selection="judge(2)", early_stop="judge", layers=2, fanout=2)


class JudgedMesh(Mesh):
    """A mesh in which judges say what `judgement` returns; proposers speak as ever."""

    def __init__(self, judgement: Callable[[str], str], settings: AgentSettings = JUDGING, **options: Any) -> None:
        super().__init__(4, settings, **options)
        self.judged: list[str] = []
        others_say = self.say

        def say(device: str, request: fx.StartInference) -> str:
            if not is_judges(request):
                return others_say(device, request)
            self.judged.append(request.messages[0].content)
            return judgement(request.messages[0].content)

        self.say = say


def is_judges(effect: fx.Effect) -> bool:
    start = JUDGE_INSTRUCTION.split(".")[0]
    return isinstance(effect, fx.StartInference) and effect.messages[0].content.startswith(start)


def aggregation(mesh: Mesh, device: str = "d0") -> fx.StartInference:
    starts = [effect for name, effect in mesh.effects if name == device and isinstance(effect, fx.StartInference)]
    return next(effect for effect in starts if effect.stream)


@pytest.mark.parametrize(
    ("text", "judgement"),
    [
        ("2, 1 DONE", Judgement((1, 0), True)),
        ("3 more", Judgement((2,), False)),
        ("\n  2,3,1\nbecause it is the longest of 9", Judgement((1, 2, 0), False)),
        ("2, 2 DONE", Judgement((1,), True)),
        ("**1** DONE.", Judgement((0,), True)),
        ("", None),
        ("DONE", None),
        ("4 DONE", None),
        ("0", None),
        ("Answer 2 is best because of 3 reasons", None),
        ("1 DONE MORE", None),
        ("² DONE", None),
        ("١", None),
        ("9" * 5000, None),
    ],
)
def test_a_judgement_is_a_line_of_numbers_and_one_word(text: str, judgement: Judgement | None) -> None:
    assert read_judgement(text, 3) == judgement


@given(st.text(max_size=80), st.integers(1, 17))
def test_no_text_makes_a_judge_choose_what_is_not_there(text: str, count: int) -> None:
    judgement = read_judgement(text, count)
    if judgement is not None:
        assert len(set(judgement.ranking)) == len(judgement.ranking) >= 1
        assert all(0 <= index < count for index in judgement.ranking)


def test_the_judge_is_given_the_question_and_all_answers_numbered_within_a_bound() -> None:
    (message,) = judge_chat("What is dew?", ["water ", " x" * 20_000, "ice"], picks=5)
    assert message.content.startswith(JUDGE_INSTRUCTION.format(picks=3))
    assert "What is dew?" in message.content
    assert "\n1. water\n\n2. x x" in message.content
    assert message.content.endswith("\n\n3. ice")
    assert len(message.content) < len(JUDGE_INSTRUCTION) + JUDGED_CHARACTERS_MAX + 200


def test_only_the_responses_picked_go_on_in_the_judges_order() -> None:
    mesh = JudgedMesh(lambda chat: "3, 1 MORE")
    key = mesh.ask("d0")
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert [len(layer) for layer in answer.provenance.layers] == [3, 3]
    assert len(aggregation(mesh).references) == 2
    first, second = answer.provenance.decisions
    third, _, best = (contribution.device_id for contribution in answer.provenance.layers[0])
    assert (first.layer, first.kind, first.chosen, first.stops, first.detail) == (1, "judge", (best, third), False, "")
    assert second.layer == 2
    assert first.work is not None
    assert first.work.device_id == "d0"
    assert first.work.service_time_s == pytest.approx(1.0)


def test_an_early_stop_by_the_same_call_aggregates_at_once() -> None:
    mesh = JudgedMesh(lambda chat: "2 DONE")
    key = mesh.ask("d0", layers=3)
    mesh.run()
    provenance = mesh.answer(key).provenance
    assert (provenance.layer_count, len(provenance.layers)) == (3, 1)
    assert [decision.stops for decision in provenance.decisions] == [True]
    assert len(mesh.judged) == 1
    assert len(aggregation(mesh).references) == 1


def test_the_layer_after_which_nothing_can_be_stopped_is_not_judged_for_a_stop() -> None:
    mesh = JudgedMesh(lambda chat: "1 MORE", settings=replace(JUDGING, response_selection="all"))
    key = mesh.ask("d0", layers=2)
    mesh.run()
    assert len(mesh.judged) == 1
    assert len(mesh.answer(key).provenance.layers) == 2
    assert len(aggregation(mesh).references) == 3


def test_with_no_more_responses_than_are_kept_nobody_is_asked() -> None:
    mesh = JudgedMesh(lambda chat: "1", settings=replace(JUDGING, response_selection="judge(3)", early_stop="never"))
    key = mesh.ask("d0", layers=2)
    mesh.run()
    assert mesh.judged == []
    assert mesh.answer(key).provenance.decisions == ()


@pytest.mark.parametrize("said", ["I like the second one best!", "17 DONE", "   "])
def test_a_judge_who_is_not_understood_changes_nothing_and_the_answer_says_so(said: str) -> None:
    mesh = JudgedMesh(lambda chat: said)
    key = mesh.ask("d0")
    mesh.run()
    provenance = mesh.answer(key).provenance
    assert len(provenance.layers) == 2
    assert len(aggregation(mesh).references) == 3
    assert [decision.detail for decision in provenance.decisions] == ["not understood, so all responses stay"] * 2
    assert all(len(decision.chosen) == 3 for decision in provenance.decisions)


def test_a_judge_who_fails_changes_nothing_and_the_answer_says_so() -> None:
    mesh = JudgedMesh(lambda chat: "1 DONE")
    mesh.fail = lambda device, request: "no memory" if is_judges(request) else None
    key = mesh.ask("d0")
    mesh.run()
    provenance = mesh.answer(key).provenance
    assert len(provenance.layers) == 2
    assert [decision.detail for decision in provenance.decisions] == ["no judgement: no memory"] * 2


def test_a_judge_who_hangs_has_its_share_of_the_time_and_the_answer_still_comes() -> None:
    mesh = JudgedMesh(lambda chat: "1", service_s=lambda device, request: 1e6 if is_judges(request) else 1.0)
    key = mesh.ask("d0", deadline_s=60.0)
    mesh.run(until=70.0)
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert answer.end_to_end_latency_s < 60.0
    assert [decision.detail for decision in answer.provenance.decisions] == ["no judgement: too late"] * 2


@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_a_session_that_ends_while_it_is_judged_leaves_nothing_behind(end: str) -> None:
    mesh = JudgedMesh(lambda chat: "1", service_s=lambda device, request: 40.0 if is_judges(request) else 10.0)
    key = mesh.ask("d0", deadline_s=35.0 if end == "deadline" else None, layers=1)
    mesh.run(until=12.0)
    assert mesh.judged
    if end == "cancel":
        mesh.handle("d0", ev.PromptCancelReceived("p1", ev.ReplyRoute("u1")))
    mesh.run(until=50.0)
    assert isinstance(mesh.answer(key), Answer)
    agent = mesh.agents["d0"]
    assert agent._server.queue.places_used == 0
    assert not agent._server.queue.running
    assert agent.next_deadline() is None


def test_a_judges_call_takes_the_sessions_own_place_even_in_a_full_queue() -> None:
    settings = replace(JUDGING, queue_capacity=1, principal_share=1.0)
    mesh = JudgedMesh(lambda chat: "1 DONE", settings=settings)
    key = mesh.ask("d0")
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert len(mesh.judged) == 1


def test_after_a_restart_the_last_joined_layer_is_judged_again() -> None:
    mesh = JudgedMesh(lambda chat: "1 DONE")
    key = mesh.ask("d0")
    while not mesh.judged:
        mesh.run(until=mesh.now + 0.1)
    mesh.stop("d0")
    prompt = next(effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt))
    layers = [effect.joined for _, effect in mesh.effects if isinstance(effect, fx.JournalLayer)]
    mesh.judged.clear()
    restored = ev.RestoredSession(prompt.prompt, prompt.reply, 100.0, 3.0, tuple(layers), 1)
    mesh.start("d0", ev.SessionsRestored((restored,)))
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert len(mesh.judged) == 1
    assert [decision.stops for decision in mesh.answer(key).provenance.decisions] == [True]


def test_consensus_and_agreement_work_in_a_session_and_are_told() -> None:
    settings = replace(QUIET, response_selection="consensus(2)", early_stop="agreement(0.3)")
    mesh = Mesh(4, settings)
    key = mesh.ask("d0", layers=3, fanout=2)
    mesh.run()
    provenance = mesh.answer(key).provenance
    assert len(provenance.layers) == 1, "all say nearly the same"
    assert [decision.kind for decision in provenance.decisions] == ["response_selection", "early_stop"]
    assert len(provenance.decisions[0].chosen) == len(aggregation(mesh).references) == 2
