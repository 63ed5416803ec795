"""When a device cannot aggregate: another does, or the best proposal is the answer, and provenance says which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.fallback import best_of
from edge_agent.core.health import Part
from edge_agent.core.messages import Contribution, ProposalRequest
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh


def failing_aggregation(kind: str) -> Mesh:
    """Three devices; whatever d0 aggregates comes to nothing."""
    mesh = Mesh(3)
    if kind == "says nothing":
        mesh.say = lambda device, request: "  " if device == "d0" and request.stream else f"{device} says something"
    elif kind == "fails":
        mesh.fail = lambda device, request: "broken model" if device == "d0" and request.stream else None
    else:
        mesh.fail = lambda device, request: "crash" if device == "d0" and request.stream else None
    return mesh


@pytest.mark.parametrize("kind", ["says nothing", "fails", "crashes twice"])
def test_another_device_aggregates_what_this_one_cannot(kind: str) -> None:
    mesh = failing_aggregation(kind)
    key = mesh.ask("d0", layers=2, fanout=2)
    mesh.run()
    answer = mesh.answer(key)
    assert (answer.outcome, answer.partial, answer.detail) == (Outcome.ANSWERED, False, "")
    provenance = answer.provenance
    assert provenance.aggregation is not None
    assert provenance.aggregation.device_id in ("d1", "d2")
    (substitute,) = provenance.substitutes
    assert (substitute.layer, substitute.device_id) == (3, provenance.aggregation.device_id)
    assert (substitute.instead_of, substitute.reason) == ("d0", "failed")
    assert len(provenance.layers) == 2
    last = [message for _, _, message in mesh.sent if isinstance(message, ProposalRequest)][-1]
    assert len(last.references) == 3, "it is given the last layer's proposals"


def test_a_device_whose_engine_dies_half_way_still_answers_with_the_help_of_others() -> None:
    mesh = Mesh(3)
    key = mesh.ask("d0", layers=2, fanout=2)
    mesh.run(until=1.5)
    mesh.fail = lambda device, request: "dead" if device == "d0" else None
    mesh.handle("d0", ev.HealthChanged(Part.ENGINE, "it died"))
    mesh.run()
    answer = mesh.answer(key)
    assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, False)
    assert answer.provenance.aggregation is not None
    assert answer.provenance.aggregation.device_id != "d0"


def test_if_nobody_can_aggregate_the_best_proposal_is_the_answer_and_says_so() -> None:
    mesh = Mesh(3)
    mesh.fail = lambda device, request: "broken model" if request.references else None
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    answer = mesh.answer(key)
    assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, True)
    assert "the aggregation failed: broken model" in answer.detail
    assert answer.provenance.aggregation is None or answer.provenance.answer_from
    assert answer.text.startswith(answer.provenance.answer_from)


def test_without_any_proposal_a_failed_aggregation_is_a_failure() -> None:
    mesh = Mesh(3)
    mesh.fail = lambda device, request: "broken model"
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.FAILED
    assert mesh.answer(key).partial is False


def test_the_plain_local_model_that_was_asked_for_asks_nobody_else() -> None:
    mesh = failing_aggregation("fails")
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.FAILED
    assert mesh.sent == []


@pytest.mark.parametrize("while_it", ["aggregates", "waits for another device to aggregate", "proposes a second time"])
def test_at_the_deadline_the_best_proposal_is_the_answer(while_it: str) -> None:
    slow = {"aggregates": "d0", "waits for another device to aggregate": "d1 d2", "proposes a second time": "d0 d1 d2"}

    def service_s(device: str, request: fx.StartInference) -> float:
        return 1_000.0 if request.references and device in slow[while_it].split() else 1.0

    mesh = Mesh(3, service_s=service_s)
    if while_it.startswith("waits"):
        mesh.fail = lambda device, request: "broken" if device == "d0" and request.references else None
    key = mesh.ask("d0", layers=2 if "second" in while_it else 1, fanout=2, deadline_s=30.0)
    mesh.run(until=29.9)
    assert mesh.agents["d0"].outstanding()["sessions"] == 1
    mesh.run(until=31.0)
    answer = mesh.answer(key)
    assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, True)
    assert "deadline" in answer.detail
    assert answer.text.startswith(answer.provenance.answer_from)
    mesh.run()
    assert not any(mesh.agents["d0"].outstanding().values())


def test_at_the_deadline_without_any_proposal_the_prompt_expires() -> None:
    mesh = Mesh(3, service_s=1_000.0)
    key = mesh.ask("d0", layers=1, fanout=2, deadline_s=30.0)
    mesh.run(until=31.0)
    assert (mesh.answer(key).outcome, mesh.answer(key).partial) == (Outcome.EXPIRED, False)


def test_a_peer_that_dies_while_it_aggregates_is_replaced_within_bounds() -> None:
    mesh = Mesh(4, replace(QUIET, substitutes_max=2))
    mesh.fail = lambda device, request: "broken" if device == "d0" and request.stream else None
    mesh.lose = lambda sender, receiver, message: isinstance(message, ProposalRequest) and message.layer == 2
    key = mesh.ask("d0", layers=1, fanout=1)
    mesh.run()
    answer = mesh.answer(key)
    assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, True)
    asked = [
        receiver for _, receiver, message in mesh.sent if isinstance(message, ProposalRequest) and message.layer == 2
    ]
    assert len(set(asked)) == 2


def test_the_best_proposal_is_the_one_the_others_agree_with_and_the_first_of_equals() -> None:
    def said(*texts: str) -> tuple[tuple[str, Contribution], ...]:
        return tuple((text, Contribution(f"d{n}", "m", 0.0, 1.0, 1, 1)) for n, text in enumerate(texts))

    assert best_of(()) is None
    best = best_of(said("bananas", "the sky is blue by day", "the sky is blue today"))
    assert best is not None
    assert best[0].startswith("the sky is blue")
    assert best_of(said("one", "two")) == said("one", "two")[0]


def test_what_a_frozen_peer_holds_in_its_queue_is_asked_after_as_soon_as_it_is_suspected() -> None:
    mesh = Mesh(3, replace(QUIET, probe_interval_s=1e6, substitutes_max=1), service_s=5.0)
    first = mesh.ask("d0", layers=1, fanout=2, deadline_s=10_000.0)
    mesh.run(until=1.0)  # both have it queued, and say so
    silent_at = mesh.now
    mesh.lose = lambda sender, receiver, message: "d1" in (sender, receiver)
    mesh.ask("d0", layers=1, fanout=2, prompt_id="p2", deadline_s=10_000.0)  # brings no receipt from d1
    mesh.run(until=silent_at + 2 * 2 * QUIET.receipt_timeout_s + 0.1)
    assert mesh.agents["d0"].outstanding()["sessions"] == 2
    waiting = [request.device_id for request in mesh.agents["d0"]._requests._open.values()]
    assert "d1" not in waiting, "what was queued at d1 was asked after when the new request found it silent"
    mesh.run()
    assert [lost.device_id for lost in mesh.answer(first).provenance.missing] == ["d1"]
