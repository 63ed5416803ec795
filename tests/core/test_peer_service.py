"""What a device does for others: receipts at once, responses later, repeats for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.errors import InvariantError
from edge_agent.core.messages import (
    BusyReason,
    ChatMessage,
    ProposalRequest,
    ProposalResponse,
    RequestCancel,
    RequestReceipt,
    Role,
    Sampling,
)
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import ItemOutcome
from tests.core.mesh import QUIET, Mesh

REQUEST = ProposalRequest("r1", "other", "its-home", 1, (ChatMessage(Role.USER, "why?"),), (), Sampling(), 100.0)


def bench(settings: AgentSettings = QUIET, service_s: float = 1.0) -> Mesh:
    """One device; requests come from a device `other` of which only the messages exist."""
    return Mesh(1, settings, service_s=service_s)


def told(effects: list[fx.Effect]) -> list[RequestReceipt | ProposalResponse]:
    sent = [effect for effect in effects if isinstance(effect, fx.SendToDevice)]
    assert all((effect.device_id, effect.home_broker) == ("other", "its-home") for effect in sent)
    return [effect.message for effect in sent if isinstance(effect.message, RequestReceipt | ProposalResponse)]


def ask(mesh: Mesh, request: ProposalRequest = REQUEST) -> list[RequestReceipt | ProposalResponse]:
    return told(mesh.handle("d0", ev.PeerMessageReceived(request)))


def refusal(mesh: Mesh, request: ProposalRequest) -> BusyReason | None:
    (receipt,) = ask(mesh, request)
    assert isinstance(receipt, RequestReceipt)
    return receipt.busy


def started(mesh: Mesh) -> int:
    return sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)


def responses(mesh: Mesh) -> list[ProposalResponse]:
    return [message for _, _, message in mesh.sent if isinstance(message, ProposalResponse)]


def test_a_request_gets_its_receipt_at_once_and_its_response_when_it_is_done() -> None:
    mesh = bench()
    assert ask(mesh) == [RequestReceipt("r1", "d0", None, 0, None)]
    mesh.run()
    (response,) = responses(mesh)
    assert (response.request_id, response.outcome) == ("r1", ItemOutcome.COMPLETED)
    assert response.text == "d0 says something about 0 references"
    assert (response.contribution.device_id, response.contribution.service_time_s) == ("d0", 1.0)


def test_a_receipt_says_how_many_wait_and_how_long_that_takes() -> None:
    mesh = bench(service_s=4.0)
    ask(mesh)
    mesh.run()
    ask(mesh, replace(REQUEST, request_id="r2"))
    (receipt,) = ask(mesh, replace(REQUEST, request_id="r3"))
    assert isinstance(receipt, RequestReceipt)
    assert receipt.requests_waiting == 1
    assert receipt.expected_wait_s == pytest.approx(8.0), "the one that runs and itself"


def test_a_repeat_of_what_is_queued_gets_a_receipt_and_no_second_place() -> None:
    mesh = bench()
    ask(mesh)
    for _ in range(5):
        (receipt,) = ask(mesh)
        assert isinstance(receipt, RequestReceipt)
        assert receipt.busy is None
    assert mesh.agents["d0"]._server.queue.places_used == 1
    mesh.run()
    assert len(responses(mesh)) == started(mesh) == 1
    assert mesh.agents["d0"].counters.requests_repeated == 5


def test_a_repeat_of_what_is_done_gets_the_same_response_without_new_work() -> None:
    mesh = bench()
    ask(mesh)
    mesh.run()
    (first,) = responses(mesh)
    assert ask(mesh) == [first]
    mesh.run()
    assert started(mesh) == 1


def test_a_repeat_of_what_failed_gets_the_failure_again() -> None:
    mesh = bench()
    mesh.fail = lambda device, request: "broken"
    ask(mesh)
    mesh.run()
    (first,) = responses(mesh)
    assert (first.outcome, first.text, first.detail) == (ItemOutcome.FAILED, "", "broken")
    assert ask(mesh) == [first]


def test_responses_are_kept_within_a_bound_and_the_oldest_is_forgotten_first() -> None:
    mesh = bench(replace(QUIET, responses_kept_max=2))
    for number in range(3):
        ask(mesh, replace(REQUEST, request_id=f"r{number}"))
        mesh.run()
    assert len(mesh.agents["d0"]._peers._finished) == 2
    assert isinstance(ask(mesh, replace(REQUEST, request_id="r2"))[0], ProposalResponse)
    assert isinstance(ask(mesh, replace(REQUEST, request_id="r0"))[0], RequestReceipt), "forgotten: worked on again"


def test_no_origin_pushes_out_what_was_kept_for_another() -> None:
    mesh = bench(replace(QUIET, responses_kept_max=4))
    ask(mesh)
    mesh.run()
    (kept,) = responses(mesh)
    for number in range(20):
        mesh.handle("d0", ev.PeerMessageReceived(replace(REQUEST, origin="busy", request_id=f"r{number}")))
        mesh.run()
    assert len(mesh.agents["d0"]._peers._finished) == 4
    assert ask(mesh) == [kept]


def test_a_repeat_that_is_over_the_rate_is_not_taken_for_a_refusal() -> None:
    mesh = bench()
    ask(mesh)
    assert mesh.handle("d0", ev.OverRate("r1", device_id="other")) == [], "it waits here"
    mesh.run()
    assert mesh.handle("d0", ev.OverRate("r1", device_id="other")) == [], "it is done"
    assert mesh.handle("d0", ev.OverRate("r2", device_id="other")), "a new one is told no"
    assert mesh.handle("d0", ev.OverRate("r1", device_id="another")), "and another's of that id"


def test_a_cancelled_request_is_dropped_and_nothing_is_sent_back() -> None:
    mesh = bench(service_s=10.0)
    ask(mesh)
    ask(mesh, replace(REQUEST, request_id="r2"))
    mesh.run(until=1.0)
    waiting = mesh.handle("d0", ev.PeerMessageReceived(RequestCancel("r2", "other")))
    running = mesh.handle("d0", ev.PeerMessageReceived(RequestCancel("r1", "other")))
    assert told(waiting) == told(running) == []
    assert [type(effect) for effect in running] == [fx.CancelInference, fx.RecordRequest]
    mesh.run()
    assert responses(mesh) == []
    assert mesh.agents["d0"]._server.queue.places_used == 0


def test_a_cancel_of_what_is_done_or_unknown_does_nothing() -> None:
    mesh = bench()
    ask(mesh)
    mesh.run()
    for request_id in ("r1", "unknown"):
        assert mesh.handle("d0", ev.PeerMessageReceived(RequestCancel(request_id, "other"))) == []


def test_only_the_origin_can_cancel_its_request() -> None:
    mesh = bench()
    ask(mesh)
    assert mesh.handle("d0", ev.PeerMessageReceived(RequestCancel("r1", "another"))) == []
    mesh.run()
    assert len(responses(mesh)) == 1


def test_two_origins_may_use_the_same_request_id() -> None:
    mesh = bench()
    ask(mesh)
    mesh.handle("d0", ev.PeerMessageReceived(replace(REQUEST, origin="another")))
    mesh.run()
    assert [to for _, to, message in mesh.sent if isinstance(message, ProposalResponse)] == ["other", "another"]
    assert started(mesh) == 2


def test_an_origin_is_refused_over_its_share_and_others_are_not() -> None:
    mesh = bench(replace(QUIET, queue_capacity=4, principal_share=0.25))
    assert [refusal(mesh, replace(REQUEST, request_id=f"r{number}")) for number in range(4)] == [
        *(None,) * 3,
        BusyReason.OVER_SHARE,
    ]
    mesh.handle("d0", ev.PeerMessageReceived(replace(REQUEST, origin="another")))
    assert mesh.agents["d0"]._server.queue.places_used == 4


def test_what_cannot_start_before_its_deadline_is_refused_once_service_times_are_known() -> None:
    mesh = bench(service_s=10.0)
    ask(mesh, replace(REQUEST, request_id="first"))
    assert refusal(mesh, replace(REQUEST, request_id="guess", expires_in_s=1.0)) is None, "nothing is measured yet"
    mesh.run()
    ask(mesh, replace(REQUEST, request_id="runs"))
    assert refusal(mesh, replace(REQUEST, request_id="late", expires_in_s=9.0)) is BusyReason.DEADLINE
    assert refusal(mesh, replace(REQUEST, request_id="fits", expires_in_s=11.0)) is None
    assert refusal(mesh, replace(REQUEST, request_id="whenever", expires_in_s=None)) is None


def test_a_refused_request_may_come_again_and_be_queued_then() -> None:
    mesh = bench(replace(QUIET, queue_capacity=1, principal_share=1.0))
    ask(mesh, replace(REQUEST, request_id="first"))
    assert refusal(mesh, REQUEST) is BusyReason.QUEUE_FULL
    mesh.run()
    assert refusal(mesh, REQUEST) is None


def test_an_empty_request_is_refused_as_invalid() -> None:
    mesh = bench()
    assert refusal(mesh, replace(REQUEST, messages=())) is BusyReason.INVALID
    assert mesh.agents["d0"].counters.requests_refused == 1


def test_a_response_longer_than_may_be_is_cut_on_a_whole_character() -> None:
    mesh = bench(replace(QUIET, response_bytes_max=5))
    ask(mesh)
    item_id = mesh.running_item("d0")
    agent = mesh.agents["d0"]
    (response,) = told(agent.handle(ev.InferenceCompleted(item_id, "aaé€", 1, 1, 0, 0.1), 1.0))
    assert isinstance(response, ProposalResponse)
    assert response.text == "aaé"


def test_an_open_request_without_an_item_is_noticed() -> None:
    mesh = bench()
    mesh.agents["d0"]._peers._open["other/r9"] = ("other", "")
    with pytest.raises(InvariantError, match="open but not in the queue"):
        mesh.agents["d0"].check_invariants(0.0)
