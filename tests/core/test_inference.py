"""The server of the queue: order, expiry, retries, and what it tells of waiting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.messages import ChatMessage, PresenceState, Prompt, PromptOptions, Role
from edge_agent.core.states import ItemOutcome, Outcome
from tests.core.mesh import QUIET, Mesh


def records(mesh: Mesh, name: str = "d0") -> list[fx.RecordRequest]:
    return [effect for device, effect in mesh.effects if device == name and isinstance(effect, fx.RecordRequest)]


def test_prompts_are_answered_in_the_order_they_came() -> None:
    mesh = Mesh(1)
    for number in range(5):
        mesh.ask("d0", layers=0, user=f"u{number}")
    mesh.run()
    ended = [effect.reply.inbox for _, effect in mesh.effects if isinstance(effect, fx.JournalAnswer)]
    assert ended == [f"u{number}/0" for number in range(5)]
    assert [record.waiting_time_s for record in records(mesh)] == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0])
    assert [record.sojourn_time_s for record in records(mesh)] == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


def test_an_item_that_waits_ends_at_its_deadline_and_gives_its_place_back_then() -> None:
    mesh = Mesh(2, replace(QUIET, receipt_timeout_s=1e6), service_s=10.0)
    mesh.ask("d1", layers=0, user="busy", deadline_s=1_000.0)
    mesh.ask("d0", layers=1, fanout=1, deadline_s=8.0)
    mesh.stop("d0")  # nobody cancels
    mesh.run(until=9.0)
    assert [record.outcome for record in records(mesh, "d1")] == [ItemOutcome.EXPIRED]
    assert [record.service_time_s for record in records(mesh, "d1")] == [0.0]
    assert mesh.agents["d1"].outstanding()["waiting"] == 0


@pytest.mark.parametrize(("role", "outcome"), [("peer", ItemOutcome.EXPIRED), ("aggregator", ItemOutcome.CANCELLED)])
def test_an_item_that_runs_ends_at_its_deadline_and_the_engine_takes_the_next(role: str, outcome: ItemOutcome) -> None:
    mesh = Mesh(2, replace(QUIET, receipt_timeout_s=1e6), service_s=lambda device, request: 1_000.0)
    if role == "peer":
        mesh.ask("d0", layers=1, fanout=1, deadline_s=8.0)
        mesh.run(until=1.0)
        mesh.stop("d0")  # nobody cancels
    else:
        mesh.ask("d1", layers=0, deadline_s=4.0)
    mesh.ask("d1", layers=0, user="next", deadline_s=100.0)
    mesh.run(until=4.5)
    assert [record.outcome for record in records(mesh, "d1")] == [outcome]
    assert [record.service_time_s for record in records(mesh, "d1")] == [pytest.approx(4.0, abs=0.1)]
    assert mesh.agents["d1"].outstanding()["running"] == 1, "the next one runs"


@pytest.mark.parametrize("how", ["its broker says so", "it restarted", "nothing was heard of it for long"])
def test_what_a_lost_device_had_asked_for_is_given_up_running_or_waiting(how: str) -> None:
    settings = replace(QUIET, gossip_interval_s=2.0 if "heard" in how else None, probe_interval_s=1e6)
    mesh = Mesh(2, settings, service_s=1_000.0)
    for number in range(3):
        mesh.ask("d0", layers=1, fanout=1, prompt_id=f"p{number}")
    mesh.run(until=3.0)
    assert mesh.agents["d1"].outstanding()["work for others"] == 1 + 2
    will = mesh.agents["d0"].last_will()
    mesh.stop("d0")
    if "broker" in how:
        mesh.handle("d1", ev.PeerMessageReceived(will))
    elif "restarted" in how:
        entry = replace(will.entry, incarnation=will.entry.incarnation + 1)
        mesh.handle("d1", ev.PeerMessageReceived(replace(will, entry=entry, state=PresenceState.ONLINE)))
    mesh.run(until=50.0)
    assert mesh.agents["d1"].outstanding()["work for others"] == 0
    assert mesh.agents["d1"].outstanding()["running"] == 0


def test_a_crash_is_retried_within_its_attempts_but_not_past_the_deadline() -> None:
    mesh = Mesh(1, service_s=6.0)
    mesh.fail = lambda device, request: "crash"
    key = mesh.ask("d0", layers=0, deadline_s=5.0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.EXPIRED
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == 1


def test_a_failure_that_cannot_be_mended_is_not_retried() -> None:
    mesh = Mesh(1)
    mesh.fail = lambda device, request: "broken model"
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.FAILED
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == 1


def test_words_of_the_engine_about_what_nobody_waits_for_do_nothing() -> None:
    mesh = Mesh(1)
    agent = mesh.agents["d0"]
    mesh.ask("d0", layers=0)
    for event in (
        ev.TextGenerated("#9", "late"),
        ev.InferenceCompleted("#9", "late", 1, 1, 0, 0.1),
        ev.InferenceFailed("#9", "late", retryable=True),
    ):
        assert agent.handle(event, 0.5) == []
    agent.check_invariants(0.5)


def test_the_expected_wait_is_the_work_ahead_and_unknown_before_the_first_measurement() -> None:
    mesh = Mesh(1, service_s=4.0)
    server = mesh.agents["d0"]._server
    assert server.expected_wait_s(0.0) == 0.0
    mesh.ask("d0", layers=0, user="u1")
    assert server.expected_wait_s(0.0) is None
    mesh.run()
    mesh.ask("d0", layers=0, user="u2")
    mesh.ask("d0", layers=0, user="u3")
    assert server.expected_wait_s(mesh.now) == pytest.approx(8.0)
    assert server.expected_wait_s(mesh.now + 3.0) == pytest.approx(5.0)
    assert server.expected_wait_s(mesh.now + 30.0) == pytest.approx(4.0), "an item over its time is due now, not before"


def test_a_cancelled_running_item_frees_the_engine_for_the_next_at_once() -> None:
    mesh = Mesh(1, service_s=100.0)
    first = mesh.ask("d0", layers=0, user="u1")
    mesh.ask("d0", layers=0, user="u2")
    mesh.run(until=1.0)
    mesh.handle("d0", ev.PromptCancelReceived("p1", ev.ReplyRoute("u1")))
    assert mesh.answer(first).outcome is Outcome.CANCELLED
    kinds = [type(effect) for _, effect in mesh.effects if isinstance(effect, fx.CancelInference | fx.StartInference)]
    assert kinds == [fx.StartInference, fx.CancelInference, fx.StartInference]


def test_a_long_queue_whose_time_is_over_ends_without_one_call_inside_another() -> None:
    """Each expired proposal takes its session to the next stage, which looks for work again: 400 times at once."""
    mesh = Mesh(1, replace(QUIET, queue_capacity=400, queue_bytes_max=2**30))
    agent = mesh.agents["d0"]
    options = PromptOptions(layers=1, fanout=0, deadline_s=50.0)
    for number in range(400):
        prompt = Prompt("p1", (ChatMessage(Role.USER, "why?"),), options)
        agent.handle(ev.PromptReceived(prompt, ev.ReplyRoute(f"u{number}"), 4), 0.0)
    # the device was asleep: the engine's word is handled before the timers that are long due
    agent.handle(ev.InferenceCompleted("#1", "late", 1, 1, 0, 0.1), 40.0)
    agent.check_invariants(40.0)
    agent.handle(ev.DeadlineReached(), 60.0)
    agent.check_invariants(60.0)
    assert agent._server.queue.places_used == 0
