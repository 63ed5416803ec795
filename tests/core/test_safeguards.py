"""Each safeguard is worth its lines: with it the scenario holds, without it the very same check fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core import peer_service
from edge_agent.core.errors import InvariantError
from edge_agent.core.messages import (
    BusyReason,
    ChatMessage,
    ProposalRequest,
    RequestReceipt,
    Role,
    Sampling,
)
from edge_agent.core.peer_service import PeerService
from edge_agent.core.queue import InferenceQueue
from edge_agent.core.requests import Requests
from edge_agent.core.shares import Shares, Shortage
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh


def proposal(origin: str, number: int) -> ev.PeerMessageReceived:
    messages = (ChatMessage(Role.USER, "why?"),)
    return ev.PeerMessageReceived(
        ProposalRequest(f"{origin}-{number}", origin, "", 1, messages, (), Sampling(), expires_in_s=None)
    )


def a_silent_peer_costs_seconds_and_not_the_layer() -> None:
    mesh = Mesh(4)
    mesh.lose = lambda sender, receiver, message: receiver == "d1"
    keys = []
    for number in range(6):
        keys.append(mesh.ask("d0", layers=1, fanout=2, prompt_id=f"p{number}", deadline_s=60.0))
        mesh.run()
    for key in keys:
        assert len(mesh.answer(key).provenance.layers[0]) == 3
        assert mesh.answer(key).end_to_end_latency_s < 15.0


def a_repeated_request_is_worked_on_once() -> None:
    mesh = Mesh(2)
    for _ in range(3):
        mesh.handle("d0", proposal("d1", 1))
    mesh.run(until=10.0)
    mesh.handle("d0", proposal("d1", 1))  # also when it is finished
    mesh.run()
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == 1


def an_accepted_session_finds_room_for_all_its_stages() -> None:
    capacity = 4
    settings = replace(QUIET, queue_capacity=capacity, principal_share=1.0)
    mesh = Mesh(2, settings, service_s=lambda device, request: 1.0 if device == "d0" else 10.0)
    key = mesh.ask("d0", layers=2, fanout=1)  # between its stages d0 has nothing of it in its queue
    queue = mesh.agents["d0"]._server.queue
    for number in range(60):  # others want every place, all the time
        mesh.handle("d0", proposal("d1", number))
        assert len(queue.waiting) + len(queue.running) <= capacity
        mesh.run(until=mesh.now + 0.5)
        assert len(queue.waiting) + len(queue.running) <= capacity
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert mesh.answer(key).provenance.missing == ()


def no_device_can_fill_another_ones_queue() -> None:
    mesh = Mesh(3, replace(QUIET, queue_capacity=8, principal_share=0.25))
    for number in range(8):
        mesh.handle("d0", proposal("d1", number))
    mesh.handle("d0", proposal("d2", 1))
    receipts = [message for _, _, message in mesh.sent if isinstance(message, RequestReceipt)]
    assert receipts[-1].busy is None
    assert [receipt.busy for receipt in receipts[:8]] == [None] * 6 + [BusyReason.OVER_SHARE] * 2


def nobody_waits_behind_a_flood() -> None:
    mesh = Mesh(2, replace(QUIET, queue_capacity=16, principal_share=0.25))
    mesh.ask("d0", layers=1, fanout=1, prompt_id="p0", user="user.alice")
    for number in range(12):
        mesh.ask("d0", layers=1, fanout=1, prompt_id=f"flood{number}", user="user.flood")
    key = mesh.ask("d0", layers=1, fanout=1, prompt_id="p1", user="user.alice")
    mesh.run()
    assert mesh.answer(key).end_to_end_latency_s < 8.0, "two stages, behind a few; not behind a dozen"
    assert mesh.answer(key).provenance.missing == ()


def nobody_works_on_what_is_not_wanted_any_more() -> None:
    slow = {"d0": 1.0, "d1": 1.0, "d2": 500.0}
    mesh = Mesh(3, replace(QUIET, join="quorum(2)"), service_s=lambda device, request: slow[device])
    mesh.ask("d0", layers=1, fanout=2)
    mesh.run(until=5.0)
    assert not mesh.agents["d2"]._server.queue.running


def without_receipt_timeout(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Requests, "receipt_due", lambda self, request_id, now: None)


def without_repeat_detection(patch: pytest.MonkeyPatch) -> None:
    numbers = count()
    patch.setattr(peer_service, "_item_id", lambda origin, request_id: f"{origin}/{request_id}/{next(numbers)}")


def without_reserved_places(patch: pytest.MonkeyPatch) -> None:
    def shortage(self: InferenceQueue, holder: str, size_bytes: int, work: int) -> Shortage | None:
        return Shortage.FULL if len(self.waiting) + len(self.running) >= self.shares.places else None

    patch.setattr(InferenceQueue, "shortage", shortage)
    patch.setattr(InferenceQueue, "check_invariants", lambda self: None)


def without_share(patch: pytest.MonkeyPatch) -> None:
    made = Shares.__init__

    def init(self: Shares, share: float, *totals: int) -> None:
        made(self, 1.0, *totals)

    patch.setattr(Shares, "__init__", init)


def without_passing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InferenceQueue, "_next_instead_of", lambda self, head: head)


def without_cancel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PeerService, "cancel_received", lambda self, cancel, now: None)


SAFEGUARDS = [
    (a_silent_peer_costs_seconds_and_not_the_layer, without_receipt_timeout),
    (a_repeated_request_is_worked_on_once, without_repeat_detection),
    (an_accepted_session_finds_room_for_all_its_stages, without_reserved_places),
    (no_device_can_fill_another_ones_queue, without_share),
    (nobody_waits_behind_a_flood, without_passing),
    (nobody_works_on_what_is_not_wanted_any_more, without_cancel),
]
NAMES = [scenario.__name__ for scenario, _ in SAFEGUARDS]


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in SAFEGUARDS], ids=NAMES)
def test_the_safeguard_holds(scenario: Callable[[], None]) -> None:
    scenario()


@pytest.mark.parametrize(("scenario", "ablation"), SAFEGUARDS, ids=NAMES)
def test_without_the_safeguard_the_same_check_fails(
    scenario: Callable[[], None], ablation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation(monkeypatch)
    with pytest.raises((AssertionError, InvariantError)):
        scenario()
