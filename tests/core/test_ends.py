"""What becomes of an end: written, then sent while there is a connection, then delivered; kept for repeats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.ends import RETRY_S, SENDING_MAX, TIMER
from edge_agent.core.health import Part
from edge_agent.core.messages import DEADLINE_MAX_S, Answer, AnswersQuery, PromptReceipt
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh


def journalled_ends(mesh: Mesh) -> list[fx.JournalAnswer]:
    return [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalAnswer)]


def answers_told(mesh: Mesh, key: str) -> list[Answer]:
    return [message for message in mesh.user_messages.get(key, []) if isinstance(message, Answer)]


def delivered(mesh: Mesh) -> list[str]:
    return [effect.prompt_id for _, effect in mesh.effects if isinstance(effect, fx.JournalDelivered)]


def owed_to_a_user() -> tuple[Mesh, ev.SessionsRestored]:
    """A device that is to start with a finished, undelivered answer and a prompt whose deadline passed meanwhile."""
    mesh = Mesh(1)
    mesh.ask("d0", layers=0, prompt_id="finished")
    mesh.run()
    (end,) = journalled_ends(mesh)
    (accepted,) = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    late = ev.RestoredSession(replace(accepted.prompt, prompt_id="late"), accepted.reply, 0.0, 400.0, (), 1)
    mesh.stop("d0")
    mesh.user_messages.clear()
    mesh.effects.clear()
    return mesh, ev.SessionsRestored((late,), (ev.RestoredAnswer(end.answer, end.reply, delivered=False),))


def test_what_is_owed_after_a_restart_is_told_once_when_there_is_a_connection_and_marked_then() -> None:
    mesh, kept = owed_to_a_user()
    agent = mesh.start_unconnected("d0", kept)
    mesh.run(until=mesh.now + 60.0)
    assert mesh.user_messages == {}, "the transport has no connection yet: whatever it is given is lost"
    assert delivered(mesh) == []
    assert agent.outstanding()["ends to tell"] == 2
    mesh.handle("d0", ev.ConnectionChanged(True))
    mesh.run()
    outcomes = [mesh.answer(f"u1/0 {prompt_id}").outcome for prompt_id in ("finished", "late")]
    assert outcomes == [Outcome.ANSWERED, Outcome.EXPIRED]
    assert sorted(delivered(mesh)) == ["finished", "late"]
    mesh.handle("d0", ev.ConnectionChanged(True))  # a reconnect tells nothing twice
    mesh.run()
    assert len(answers_told(mesh, "u1/0 late")) == 1


def test_an_end_without_a_connection_waits_for_one() -> None:
    mesh = Mesh(1)
    key = mesh.ask("d0", layers=0)
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.run()
    assert answers_told(mesh, key) == []
    mesh.handle("d0", ev.ConnectionChanged(True))
    assert mesh.answer(key).outcome is Outcome.ANSWERED


def test_an_answer_that_was_dropped_on_its_way_is_sent_again_after_a_while() -> None:
    mesh = Mesh(1)
    mesh.broker_takes = lambda device: False
    key = mesh.ask("d0", layers=0)
    mesh.run(until=1.0)
    assert delivered(mesh) == []
    mesh.broker_takes = lambda device: True
    mesh.run(until=1.0 + RETRY_S)
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert delivered(mesh) == ["p1"]


def test_many_owed_answers_go_out_a_bounded_number_at_a_time_and_all_in_the_end() -> None:
    mesh, kept = owed_to_a_user()
    (one,) = kept.answers
    many = tuple(replace(one, answer=replace(one.answer, prompt_id=f"p{number}")) for number in range(3 * SENDING_MAX))
    mesh.start_unconnected("d0", ev.SessionsRestored((), many))
    effects = mesh.agents["d0"].handle(ev.ConnectionChanged(True), mesh.now)
    sent = [effect for effect in effects if isinstance(effect, fx.SendToUser)]
    assert len(sent) == SENDING_MAX
    told = len(sent)
    while sent:
        (route, message), *sent = [(effect.reply, effect.message) for effect in sent]
        more = mesh.agents["d0"].handle(ev.AnswerSent(message.prompt_id, route, True), mesh.now)
        found = [effect for effect in more if isinstance(effect, fx.SendToUser)]
        told += len(found)
        sent = [fx.SendToUser(*pair) for pair in sent] + found
    assert told == 3 * SENDING_MAX
    mesh.agents["d0"].check_invariants(mesh.now)


def test_an_answer_is_sent_only_after_the_journal_has_it_and_a_receipt_too() -> None:
    mesh = Mesh(1)
    agent = mesh.agents["d0"]
    mesh.confirms_writes = False
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.user_messages == {}, "nothing is promised before it is on disk"
    (accepted,) = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    mesh.handle("d0", ev.RecordWritten(ev.JournalRecord.PROMPT, "p1", accepted.reply))
    assert [type(message) for message in mesh.user_messages[key]] == [PromptReceipt]
    mesh.handle("d0", ev.RecordWritten(ev.JournalRecord.ANSWER, "p1", accepted.reply))
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert agent.outstanding()["ends to tell"] == 0


def test_peers_are_asked_before_the_disk_has_the_prompt_and_the_user_hears_of_it_after_its_receipt() -> None:
    mesh = Mesh(3)
    mesh.confirms_writes = False
    key = mesh.ask("d0", layers=1, fanout=2)
    assert len(mesh.sent) == 2
    assert key not in mesh.user_messages
    (accepted,) = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    mesh.run(until=1.9)
    mesh.handle("d0", ev.RecordWritten(ev.JournalRecord.PROMPT, "p1", accepted.reply))
    kinds = [type(message).__name__ for message in mesh.user_messages[key]]
    assert kinds == ["PromptReceipt", "LayerProgress", "LayerProgress", "TokenChunk"]


def test_a_disk_that_refuses_is_told_in_the_receipt_and_costs_no_answer() -> None:
    mesh = Mesh(1)
    mesh.disk_error = lambda device: "no space left"
    key = mesh.ask("d0", layers=0)
    mesh.run()
    receipt = mesh.user_messages[key][0]
    assert isinstance(receipt, PromptReceipt)
    assert receipt.durable is False
    assert mesh.answer(key).outcome is Outcome.ANSWERED


def test_what_a_full_disk_could_not_take_is_written_once_it_can() -> None:
    mesh = Mesh(1, service_s=100.0)
    mesh.disk_error = lambda device: "no space left"
    mesh.ask("d0", layers=0)
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, "no space left"))
    mesh.disk_error = lambda device: ""
    mesh.effects.clear()
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, ""))
    again = [effect.prompt.prompt_id for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    assert again == ["p1"]
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, "no space left"))
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, ""))
    again = [effect.prompt.prompt_id for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    assert again == ["p1", "p1"], "a journal that was lost in mid-run has nothing: twice is harmless"


def test_an_answer_is_kept_while_its_time_lasts_however_many_came_after_it() -> None:
    mesh = Mesh(1, service_s=0.001)
    first = mesh.ask("d0", layers=0, user="first")
    for number in range(600):
        mesh.ask("d0", layers=0, user=f"u{number}")
        mesh.run(until=mesh.now + 0.01)
    inferences = sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)
    mesh.ask("d0", layers=0, user="first")
    mesh.run()
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == inferences
    assert len(answers_told(mesh, first)) == 2
    assert len(set(answers_told(mesh, first))) == 1


@pytest.mark.parametrize("after_s", [3_599.0, 3_601.0])
def test_after_its_time_a_repeated_prompt_is_worked_on_again(after_s: float) -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0)
    mesh.run(until=1.5)
    mesh.run(until=1.0 + after_s)
    mesh.ask("d0", layers=0)
    mesh.run()
    inferences = sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)
    assert inferences == (1 if after_s < 3_600.0 else 2)


def test_kept_answers_stay_within_their_bytes_the_oldest_delivered_ones_go_first() -> None:
    mesh = Mesh(1, replace(QUIET, answers_bytes_max=40_000), service_s=0.001)
    mesh.say = lambda device, request: "x" * 5_000
    for number in range(20):
        mesh.ask("d0", layers=0, user=f"u{number}")
        mesh.run(until=mesh.now + 1.0)
    before = sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)
    mesh.ask("d0", layers=0, user="u19")
    mesh.run(until=mesh.now + 1.0)
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == before
    mesh.ask("d0", layers=0, user="u0")
    mesh.run(until=mesh.now + 1.0)
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == before + 1


def test_a_repeated_prompt_whose_end_is_on_its_way_is_told_by_the_route_named_last() -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0)
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.run()
    (accepted,) = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    again = replace(accepted.reply, correlation="c0ffee")
    mesh.handle("d0", ev.PromptReceived(accepted.prompt, again, 4))
    mesh.handle("d0", ev.ConnectionChanged(True))
    told = [effect for _, effect in mesh.effects if isinstance(effect, fx.SendToUser)]
    (sent,) = [effect for effect in told if isinstance(effect.message, Answer)]
    assert sent.reply.correlation == "c0ffee"


def test_an_end_told_while_the_disk_was_full_is_kept_once_there_is_room() -> None:
    mesh = Mesh(1)
    mesh.ask("d0", layers=0, prompt_id="p")
    mesh.run(until=mesh.now + 0.01)  # accepted and on disk
    mesh.disk_error = lambda device: "no room"
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, "no room"))
    mesh.run()
    assert answers_told(mesh, "u1/0 p"), "told"
    mesh.disk_error = lambda device: ""
    mesh.effects.clear()
    mesh.handle("d0", ev.HealthChanged(Part.JOURNAL, ""))
    mesh.run()
    assert journalled_ends(mesh), "or a restart works on it again and tells another end"


@pytest.mark.parametrize("end_is", ["delivered", "on its way"])
def test_a_repeat_just_before_the_connection_breaks_is_answered_once_there_is_one_again(end_is: str) -> None:
    mesh = Mesh(1)
    mesh.broker_takes = lambda device: end_is == "delivered"
    key = mesh.ask("d0", layers=0)
    mesh.run(until=5.0)
    mesh.broker_takes = lambda device: True
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.user_messages.clear()
    mesh.ask("d0", layers=0)
    assert answers_told(mesh, key) == [], "nobody would hear it"
    mesh.handle("d0", ev.ConnectionChanged(True))
    mesh.run()
    assert len(answers_told(mesh, key)) == 1
    assert len(journalled_ends(mesh)) == 1


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("its_state", ["owed", "owed after a restart", "delivered"])
def test_an_end_is_cut_to_what_the_broker_takes_that_came_back(its_state: str, journal: bool) -> None:
    mesh = Mesh(1, replace(QUIET, journal=journal))
    mesh.say = lambda device, request: "long " * 4_000
    mesh.broker_takes = lambda device: its_state == "delivered"
    key = mesh.ask("d0", layers=0)
    mesh.run(until=3.0)
    mesh.broker_takes = lambda device: True
    mesh.handle("d0", ev.ConnectionChanged(False))
    mesh.user_messages.clear()
    if its_state == "owed after a restart" and journal:
        (end,) = journalled_ends(mesh)
        mesh.stop("d0")
        mesh.start_unconnected("d0", ev.SessionsRestored((), (ev.RestoredAnswer(end.answer, end.reply, False),)))
    mesh.handle("d0", ev.ConnectionChanged(True, message_bytes_max=8_192))
    if not journal or its_state == "delivered":  # it counts as delivered: a repeat tells it
        mesh.ask("d0", layers=0)
    mesh.run()
    (told,) = answers_told(mesh, key)
    assert 0 < len(told.text) < 8_192, "as much of it as fits"
    if journal:
        assert journalled_ends(mesh)[-1].answer == told, "a restart repeats what was told"


def test_nothing_waits_for_an_end_that_is_forgotten_before_any_broker_took_it() -> None:
    mesh = Mesh(1)
    mesh.broker_takes = lambda device: False
    mesh.ask("d0", layers=0)
    mesh.run(until=3.0)
    assert TIMER in mesh.agents["d0"]._context.timers, "it is to be sent again"
    mesh.now += DEADLINE_MAX_S + 60.0
    mesh.handle("d0", ev.AnswersQueryReceived(AnswersQuery("q"), ev.ReplyRoute("u2", "0")))
    assert mesh.agents["d0"].outstanding()["ends to tell"] == 0
    assert TIMER not in mesh.agents["d0"]._context.timers
