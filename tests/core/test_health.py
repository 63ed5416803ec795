"""A device that cannot infer says so, is not asked, and is asked again once it can."""

from __future__ import annotations

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.health import DETAIL_LENGTH_MAX, Health, Part, Problem
from edge_agent.core.messages import (
    BusyReason,
    PresenceState,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
    RefusalReason,
    RequestReceipt,
)
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh

BROKEN = ev.HealthChanged(Part.ENGINE, "the model's file is gone: moamesh models pull")
WELL = ev.HealthChanged(Part.ENGINE, "")


def asked(mesh: Mesh) -> set[str]:
    return {receiver for _, receiver, message in mesh.sent if isinstance(message, ProposalRequest)}


def test_one_problem_is_kept_for_each_part_as_one_line_in_the_order_of_the_parts() -> None:
    health = Health()
    health.note(Part.BROKER, "first\n  line")
    health.note(Part.ENGINE, "x" * 1000)
    health.note(Part.BROKER, "second\tline")
    assert health.problems() == (
        Problem(Part.ENGINE, "x" * (DETAIL_LENGTH_MAX - 3) + "..."),
        Problem(Part.BROKER, "second line"),
    )
    health.note(Part.ENGINE, " \n")
    assert [problem.part for problem in health.problems()] == [Part.BROKER]


def test_a_device_that_cannot_infer_tells_the_others_at_once_and_is_not_asked_until_it_can() -> None:
    mesh = Mesh(4)
    mesh.handle("d1", BROKEN)
    mesh.run()
    mesh.ask("d0", layers=2, fanout=3)
    mesh.run()
    assert asked(mesh) == {"d2", "d3"}
    mesh.handle("d1", WELL)
    mesh.run()
    mesh.ask("d0", prompt_id="p2", layers=1, fanout=3)
    mesh.run()
    assert "d1" in asked(mesh)


def test_who_asks_it_all_the_same_gets_a_word_at_once_and_asks_another() -> None:
    mesh = Mesh(4, presence=False)
    mesh.handle("d1", BROKEN)
    for number in range(6):
        mesh.ask("d0", prompt_id=f"p{number}", layers=1, fanout=2)
        mesh.run()
    receipts = [message for sender, _, message in mesh.sent if sender == "d1" and isinstance(message, RequestReceipt)]
    assert [receipt.busy for receipt in receipts] == [BusyReason.UNABLE]  # its own word is enough, once
    for number in range(6):
        assert not mesh.answer(f"u1/0 p{number}").provenance.missing


def test_its_users_are_refused_in_words_with_a_time_to_try_again() -> None:
    mesh = Mesh(2)
    mesh.handle("d0", BROKEN)
    (refusal,) = mesh.user_messages.get(mesh.ask("d0"), [])
    assert isinstance(refusal, PromptRefusal)
    assert (refusal.reason, refusal.retry_after_s) == (RefusalReason.UNABLE, 10.0)
    assert "the model's file is gone" in refusal.detail


def test_what_waits_for_an_engine_that_cannot_infer_fails_at_once() -> None:
    mesh = Mesh(2, service_s=100.0)
    mesh.ask("d0", prompt_id="p1", layers=1, fanout=1)
    mesh.run(5.0)
    mesh.ask("d0", prompt_id="p2", layers=1, fanout=1)
    mesh.run(10.0)
    assert mesh.agents["d1"].outstanding()["waiting"] == 1
    mesh.handle("d1", BROKEN)
    mesh.run(11.0)
    assert mesh.agents["d1"].outstanding()["waiting"] == 0
    (response,) = [
        message for sender, _, message in mesh.sent if sender == "d1" and isinstance(message, ProposalResponse)
    ]
    assert "cannot infer" in response.detail


def test_a_failing_engine_is_not_tried_again_once_it_is_known_to_be_unable() -> None:
    mesh = Mesh(1)
    mesh.fail = lambda device, request: "crash"
    key = mesh.ask("d0", layers=0)
    mesh.handle("d0", BROKEN)
    mesh.run()
    starts = [effect for _, effect in mesh.effects if isinstance(effect, fx.StartInference)]
    assert len(starts) == 1
    assert mesh.answer(key).outcome is Outcome.FAILED


@pytest.mark.parametrize("part", [part for part in Part if part is not Part.ENGINE])
def test_other_parts_are_told_in_status_and_do_not_keep_the_device_from_working(part: Part) -> None:
    mesh = Mesh(2, AgentSettings(gossip_interval_s=None, status_interval_s=1.0))
    mesh.handle("d0", ev.HealthChanged(part, "what is wrong"))
    key = mesh.ask("d0", layers=1, fanout=1)
    mesh.run(30.0)
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    status = [effect.status for name, effect in mesh.effects if name == "d0" and isinstance(effect, fx.PublishStatus)]
    assert status[-1].problems == (Problem(part, "what is wrong"),)
    assert (status[-1].able, status[-1].durable) == (True, part is not Part.JOURNAL)


def test_presence_says_whether_a_device_can_infer_also_after_a_reconnect() -> None:
    mesh = Mesh(2, QUIET)
    mesh.handle("d0", BROKEN)
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.handle("d0", ev.ConnectionChanged(True))
    presences = [
        effect.presence for name, effect in mesh.effects if name == "d0" and isinstance(effect, fx.PublishPresence)
    ]
    assert [presence.entry.able for presence in presences] == [True, False, False]
    assert {presence.state for presence in presences} == {PresenceState.ONLINE}
    assert mesh.agents["d0"].last_will().entry.able is False


def test_a_request_that_could_not_be_sent_is_nobodys_silence() -> None:
    mesh = Mesh(4)
    mesh.lose = lambda sender, receiver, message: isinstance(message, ProposalRequest) and receiver == "d1"
    key = mesh.ask("d0", layers=1, fanout=3)
    for _, receiver, message in list(mesh.sent):
        if isinstance(message, ProposalRequest) and receiver == "d1":
            mesh.handle("d0", ev.SendFailed("d2", message.request_id, "not of d2"))  # not whom it was for: ignored
            mesh.handle("d0", ev.SendFailed("d1", message.request_id, "too large"))
    mesh.run()
    assert [missing.reason for missing in mesh.answer(key).provenance.missing] == ["not_sent"]
    assert mesh.agents["d0"].counters.peers_suspected == 0
