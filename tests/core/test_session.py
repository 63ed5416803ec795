"""The way of a prompt through the mesh, as design.md section 3 has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.messages import (
    DEADLINE_MAX_S,
    Answer,
    BusyReason,
    ChatMessage,
    LayerProgress,
    Prompt,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
    RefusalReason,
    RequestCancel,
    RequestReceipt,
    Role,
    TokenChunk,
)
from edge_agent.core.states import Outcome
from tests.core.mesh import QUIET, Mesh


def requests_of(mesh: Mesh, layer: int | None = None) -> list[tuple[str, str, ProposalRequest]]:
    return [
        (sender, receiver, message)
        for sender, receiver, message in mesh.sent
        if isinstance(message, ProposalRequest) and layer in (None, message.layer)
    ]


def test_a_prompt_without_layers_touches_no_network() -> None:
    mesh = Mesh()
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert mesh.sent == []
    provenance = mesh.answer(key).provenance
    assert provenance.layers == ()
    assert (provenance.messages_sent, provenance.messages_received) == (0, 0)


def test_every_layer_has_a_proposal_of_its_own_and_of_k_distinct_peers_and_one_aggregation_ends_it() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=2, fanout=2)
    mesh.run()
    provenance = mesh.answer(key).provenance
    for layer in provenance.layers:
        devices = [contribution.device_id for contribution in layer]
        assert len(devices) == len(set(devices)) == 3
        assert "d0" in devices
    assert len(provenance.layers) == 2
    assert provenance.aggregation is not None
    assert provenance.aggregation.device_id == "d0"
    assert (provenance.substitutes, provenance.missing) == ((), ())


def test_messages_are_two_for_each_peer_and_layer_plus_receipts() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=2, fanout=2)
    mesh.run()
    provenance = mesh.answer(key).provenance
    assert provenance.messages_sent == 2 * 2  # one request for each of M·k
    assert provenance.messages_received == 2 * 2 * 2  # a receipt and a response for each


def test_the_first_layer_infers_the_prompt_and_later_ones_the_responses_before_too() -> None:
    mesh = Mesh(4)
    mesh.ask("d0", layers=2, fanout=2)
    mesh.run()
    assert all(request.references == () for _, _, request in requests_of(mesh, 1))
    second = requests_of(mesh, 2)
    assert second
    assert all(len(request.references) == 3 for _, _, request in second)
    assert all("0 references" in text for _, _, request in second for text in request.references)


def test_the_answer_comes_after_its_receipt_its_progress_and_its_tokens() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    kinds = [type(message) for message in mesh.user_messages[key]]
    assert kinds == [PromptReceipt, LayerProgress, LayerProgress, TokenChunk, Answer]


def test_the_prompt_is_journalled_before_its_receipt_and_the_answer_before_it_is_sent() -> None:
    mesh = Mesh(4)
    mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    order = [
        type(effect.message) if isinstance(effect, fx.SendToUser) else type(effect)
        for name, effect in mesh.effects
        if name == "d0"
    ]
    assert order.index(fx.JournalPrompt) < order.index(PromptReceipt)
    assert order.index(fx.JournalLayer) < order.index(TokenChunk)
    assert order.index(fx.JournalAnswer) < order.index(Answer)


def test_a_busy_peer_is_replaced_by_one_not_asked_before() -> None:
    victim, replaced = "d1", 0
    for seed in range(1, 9):
        mesh = Mesh(4, replace(QUIET, queue_capacity=1, principal_share=1.0), seed=seed)
        mesh.ask(victim, layers=0, prompt_id="own")  # takes the only place of d1
        key = mesh.ask("d0", layers=1, fanout=2)
        mesh.run()
        answer = mesh.answer(key)
        assert answer.outcome is Outcome.ANSWERED
        was_asked = victim in [receiver for _, receiver, _ in requests_of(mesh, 1)]
        replaced += was_asked
        told = [(sub.instead_of, sub.reason) for sub in answer.provenance.substitutes]
        assert told == [(victim, "queue_full")] * was_asked
        assert {contribution.device_id for contribution in answer.provenance.layers[0]} == {"d0", "d2", "d3"}
    assert replaced > 1, "no draw chose the busy one: nothing was tested"


def test_a_silent_peer_is_asked_again_then_suspected_then_replaced() -> None:
    mesh = Mesh(4)
    mesh.lose = lambda sender, receiver, message: receiver == "d1"
    answers = []
    for number in range(6):  # enough for d1 to be chosen
        key = mesh.ask("d0", layers=1, fanout=2, prompt_id=f"p{number}")
        mesh.run()
        answers.append(mesh.answer(key))
    silent = [answer for answer in answers if answer.provenance.substitutes]
    assert len(silent) == 1, "d1 was not chosen, or was chosen again while suspected"
    substitute = silent[0].provenance.substitutes[0]
    assert (substitute.instead_of, substitute.reason) == ("d1", "silent")
    assert [receiver for _, receiver, _ in requests_of(mesh)].count("d1") == QUIET.request_sends_max
    assert mesh.agents["d0"].counters.peers_suspected == 1


def test_a_lost_response_is_fetched_by_a_probe_without_working_twice() -> None:
    mesh = Mesh(3)
    lost: list[str] = []

    def lose_first_response(sender: str, receiver: str, message: object) -> bool:
        if isinstance(message, ProposalResponse) and not lost:
            lost.append(message.request_id)
            return True
        return False

    mesh.lose = lose_first_response
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    answer = mesh.answer(key)
    assert len(answer.provenance.layers[0]) == 3
    assert lost
    inferences = [effect for name, effect in mesh.effects if isinstance(effect, fx.StartInference) and name != "d0"]
    assert len(inferences) == 2


def test_a_peer_that_dies_after_its_receipt_is_found_by_a_probe_and_replaced() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run(until=0.5)
    dead = requests_of(mesh, 1)[0][1]
    mesh.stop(dead)
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert [(sub.instead_of, sub.reason) for sub in answer.provenance.substitutes] == [(dead, "silent")]
    assert len(answer.provenance.layers[0]) == 3


def test_fewer_peers_than_k_are_said_to_be_missing() -> None:
    mesh = Mesh(2)
    key = mesh.ask("d0", layers=1, fanout=3)
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert len(answer.provenance.layers[0]) == 2
    assert [missing.reason for missing in answer.provenance.missing] == ["no_peer_known"] * 2


def test_a_quorum_goes_on_with_r_responses_and_cancels_the_rest() -> None:
    slow = {"d1": 50.0, "d2": 60.0, "d3": 70.0, "d0": 1.0}
    mesh = Mesh(4, replace(QUIET, join="quorum(2)"), service_s=lambda device, request: slow[device])
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    answer = mesh.answer(key)
    assert len(answer.provenance.layers[0]) == 2
    assert [missing.reason for missing in answer.provenance.missing] == ["not_waited_for"]
    cancels = [receiver for _, receiver, message in mesh.sent if isinstance(message, RequestCancel)]
    assert len(cancels) == 1
    assert (cancels[0], fx.CancelInference) in [(name, type(effect)) for name, effect in mesh.effects]
    assert mesh.now < 65, "somebody worked on what was cancelled"


def test_a_layer_deadline_bounds_the_join_and_the_answer_still_comes_in_time() -> None:
    mesh = Mesh(4, service_s=lambda device, request: 1.0 if device == "d0" else 1e6)
    key = mesh.ask("d0", layers=1, fanout=2, deadline_s=20.0)
    mesh.run(until=30.0)
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert answer.end_to_end_latency_s < 20.0
    assert [missing.reason for missing in answer.provenance.missing] == ["layer_deadline"] * 2


def test_a_prompt_that_cannot_be_done_in_time_expires_and_its_user_is_told_at_its_deadline() -> None:
    mesh = Mesh(2, service_s=100.0)
    key = mesh.ask("d0", layers=1, fanout=1, deadline_s=10.0)
    mesh.run(until=11.0)
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.EXPIRED
    assert answer.end_to_end_latency_s == pytest.approx(10.0)


def test_a_users_cancel_ends_the_session_and_drops_its_work_everywhere() -> None:
    mesh = Mesh(4, service_s=100.0)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run(until=1.0)
    mesh.handle("d0", ev.PromptCancelReceived("p1", ev.ReplyRoute("u1")))
    mesh.run(until=2.0)
    assert mesh.answer(key).outcome is Outcome.CANCELLED
    for agent in mesh.agents.values():
        assert agent._server.queue.places_used == 0
        assert not agent._server.queue.running


@pytest.mark.parametrize("other", [ev.ReplyRoute("u2"), ev.ReplyRoute("u1", "phone"), ev.ReplyRoute("user.u1")])
def test_a_cancel_counts_only_from_whose_prompt_it_is(other: ev.ReplyRoute) -> None:
    mesh = Mesh(4, service_s=1.0)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run(until=0.5)
    mesh.handle("d0", ev.PromptCancelReceived("p1", other))
    (refusal,) = mesh.user_messages[f"{other.inbox} p1"]
    assert isinstance(refusal, PromptRefusal)
    assert refusal.detail == "no prompt with that id is known here"
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    mesh.handle("d0", ev.PromptCancelReceived("p1", other))
    assert [type(message) for message in mesh.user_messages[f"{other.inbox} p1"]] == [PromptRefusal] * 2, "no answer"


def test_a_repeated_prompt_gets_its_receipt_again_and_later_its_answer_without_new_work() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.ask("d0", layers=1, fanout=2)
    assert [type(message) for message in mesh.user_messages[key]].count(PromptReceipt) == 2
    mesh.run()
    first = mesh.answer(key)
    started = sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)
    mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    again = [message for message in mesh.user_messages[key] if isinstance(message, Answer)]
    assert again == [first, first]
    assert sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects) == started


def test_the_same_prompt_id_of_two_users_is_two_prompts() -> None:
    mesh = Mesh(2)
    keys = [mesh.ask("d0", user=user, layers=0) for user in ("u1", "u2", "user.u1")]
    mesh.run()
    assert [mesh.answer(key).outcome for key in keys] == [Outcome.ANSWERED] * 3


def test_a_full_queue_refuses_in_words_and_says_when_to_try_again() -> None:
    mesh = Mesh(1, replace(QUIET, queue_capacity=2, principal_share=1.0))
    for number in range(3):
        mesh.ask("d0", layers=0, prompt_id=f"p{number}")
    (refusal,) = mesh.user_messages["u1/0 p2"]
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason is RefusalReason.OVERLOADED
    assert refusal.retry_after_s is not None
    assert refusal.retry_after_s >= 1.0
    mesh.run()
    assert [mesh.answer(f"u1/0 p{number}").outcome for number in range(2)] == [Outcome.ANSWERED] * 2


@pytest.mark.parametrize(
    ("text", "reason"), [("", RefusalReason.INVALID), ("  \n", RefusalReason.INVALID), ("x" * 2**20, "too_large")]
)
def test_an_empty_or_huge_prompt_is_refused_and_nothing_else_is_disturbed(text: str, reason: str) -> None:
    mesh = Mesh(2)
    good = mesh.ask("d0", layers=1, fanout=1)
    bad = mesh.ask("d0", text=text, prompt_id="bad")
    mesh.run()
    (refusal,) = mesh.user_messages[bad]
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason == reason
    assert mesh.answer(good).outcome is Outcome.ANSWERED
    assert mesh.agents["d0"].counters.prompts_refused == 1


def test_what_is_no_message_is_counted_and_its_sender_told() -> None:
    mesh = Mesh(1)
    mesh.handle("d0", ev.BadInputReceived(RefusalReason.INVALID, "no JSON", "p9", ev.ReplyRoute("u1")))
    mesh.handle("d0", ev.BadInputReceived(RefusalReason.INVALID, "no JSON"))
    (refusal,) = mesh.user_messages["u1/0 p9"]
    assert isinstance(refusal, PromptRefusal)
    assert mesh.agents["d0"].counters.bad_input == 2


def test_a_crashed_inference_is_tried_once_more_and_its_text_streams_from_the_start() -> None:
    mesh = Mesh(1)
    crashes = iter(["crash"])
    mesh.fail = lambda device, request: next(crashes, None)
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert [message.index for message in mesh.user_messages[key] if isinstance(message, TokenChunk)] == [0]


def test_an_inference_that_always_fails_ends_the_prompt_as_failed_with_the_reason() -> None:
    mesh = Mesh(1)
    mesh.fail = lambda device, request: "crash"
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.FAILED
    assert "crash" in mesh.answer(key).detail
    started = sum(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)
    assert started == QUIET.inference_attempts_max


def test_a_peer_whose_engine_fails_is_replaced() -> None:
    mesh = Mesh(4)
    mesh.fail = lambda device, request: "broken" if device == "d1" else None
    answers = []
    for number in range(6):
        answers.append(mesh.ask("d0", layers=1, fanout=2, prompt_id=f"p{number}"))
        mesh.run()
    replaced = [sub for key in answers for sub in mesh.answer(key).provenance.substitutes]
    assert replaced
    assert {(sub.instead_of, sub.reason) for sub in replaced} == {("d1", "failed")}
    assert all(len(mesh.answer(key).provenance.layers[0]) == 3 for key in answers)


def test_after_a_reconnect_what_was_under_way_is_asked_for_again() -> None:
    mesh = Mesh(3, service_s=5.0)
    key = mesh.ask("d0", layers=1, fanout=2)
    mesh.run(until=1.0)
    for name in mesh.names:
        mesh.handle(name, ev.ConnectionChanged(False))
    mesh.lose = lambda *_: True  # a broker that restarts loses everything
    mesh.run(until=8.0)
    mesh.lose = lambda *_: False
    for name in mesh.names:
        mesh.handle(name, ev.ConnectionChanged(True))
    mesh.run(until=15.0)
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert len(answer.provenance.layers[0]) == 3
    assert answer.provenance.missing == ()


def test_a_restarted_device_takes_its_sessions_up_from_their_last_joined_layer() -> None:
    mesh = Mesh(4)
    key = mesh.ask("d0", layers=2, fanout=2)
    while not any(isinstance(effect, fx.JournalLayer) for _, effect in mesh.effects):
        mesh.run(until=mesh.now + 0.1)
    mesh.stop("d0")
    prompts = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalPrompt)]
    layers = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalLayer)]
    session = ev.RestoredSession(
        prompts[0].prompt, prompts[0].reply, 100.0, 3.0, tuple(layer.joined for layer in layers), 1
    )
    mesh.run(until=mesh.now + 1.0)
    before = len(requests_of(mesh, 1))
    mesh.start("d0", ev.SessionsRestored((session,)))
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome is Outcome.ANSWERED
    assert answer.provenance.restarts == 1
    assert len(answer.provenance.layers) == 2
    assert len(requests_of(mesh, 1)) == before, "the joined layer was worked on again"
    assert answer.end_to_end_latency_s >= 3.0


def restored(restarts: int = 1, remaining_s: float = 100.0) -> ev.SessionsRestored:
    prompt = Prompt("p1", (ChatMessage(Role.USER, "why?"),), PromptOptions(layers=1, fanout=1))
    session = ev.RestoredSession(prompt, ev.ReplyRoute("u1"), remaining_s, 3.0, (), restarts)
    return ev.SessionsRestored((session,))


def test_a_session_that_saw_too_many_restarts_is_given_up_and_its_user_told() -> None:
    mesh = Mesh(2)
    mesh.stop("d0")
    mesh.start("d0", restored(restarts=QUIET.session_restarts_max + 1))
    mesh.run()
    assert mesh.answer("u1/0 p1").outcome is Outcome.FAILED
    assert str(QUIET.session_restarts_max + 1) in mesh.answer("u1/0 p1").detail
    assert not any(isinstance(effect, fx.StartInference) for _, effect in mesh.effects)


def test_a_session_given_up_after_its_layers_is_answered_by_their_best_proposal() -> None:
    mesh = Mesh(3)
    mesh.ask("d0", layers=1, fanout=2)
    mesh.run()
    (joined,) = [effect.joined for _, effect in mesh.effects if isinstance(effect, fx.JournalLayer)]
    (kept,) = restored(restarts=QUIET.session_restarts_max + 1).sessions
    mesh.stop("d0")
    mesh.user_messages.clear()
    mesh.start("d0", ev.SessionsRestored((replace(kept, layers=(joined,)),), ()))
    mesh.run()
    answer = mesh.answer("u1/0 p1")
    assert (answer.outcome, answer.partial) == (Outcome.ANSWERED, True)
    assert answer.text in [text for text, _ in joined.responses]
    assert str(QUIET.session_restarts_max + 1) in answer.detail


def test_a_restored_session_past_its_deadline_expires_at_once_and_asks_nobody() -> None:
    mesh = Mesh(2)
    mesh.stop("d0")
    mesh.start("d0", restored(remaining_s=-1.0))
    mesh.run()
    assert mesh.answer("u1/0 p1").outcome is Outcome.EXPIRED
    assert requests_of(mesh) == []


def test_an_aggregation_without_text_is_a_failure_and_says_so() -> None:
    mesh = Mesh(1)
    mesh.say = lambda device, request: "  \n"
    key = mesh.ask("d0", layers=0)
    mesh.run()
    assert mesh.answer(key).outcome is Outcome.FAILED
    assert mesh.answer(key).detail


def test_an_undelivered_answer_is_sent_again_after_a_restart_and_a_delivered_one_is_not() -> None:
    mesh = Mesh(1)
    for number in range(2):
        mesh.ask("d0", layers=0, prompt_id=f"p{number}")
    mesh.run()
    answers = [effect for _, effect in mesh.effects if isinstance(effect, fx.JournalAnswer)]
    mesh.stop("d0")
    mesh.user_messages.clear()
    kept = tuple(
        ev.RestoredAnswer(effect.answer, effect.reply, delivered=delivered)
        for effect, delivered in zip(answers, (True, False), strict=True)
    )
    mesh.start("d0", ev.SessionsRestored((), kept))
    assert list(mesh.user_messages) == ["u1/0 p1"]
    mesh.ask("d0", layers=0, prompt_id="p0")
    assert mesh.answer("u1/0 p0") == answers[0].answer


def test_a_stopping_device_refuses_new_prompts_and_requests() -> None:
    mesh = Mesh(2)
    mesh.handle("d1", ev.StopRequested())
    refused = mesh.ask("d1", layers=0)
    key = mesh.ask("d0", layers=1, fanout=1, prompt_id="p2")
    mesh.run()
    (refusal,) = mesh.user_messages[refused]
    assert isinstance(refusal, PromptRefusal)
    assert refusal.reason is RefusalReason.STOPPING
    receipts = [message for _, _, message in mesh.sent if isinstance(message, RequestReceipt)]
    assert [receipt.busy for receipt in receipts] == [BusyReason.STOPPING]
    assert mesh.answer(key).provenance.missing[0].reason == "lost"  # its farewell came first


def test_what_is_asked_of_others_yields_there_only_while_its_user_has_more_than_a_share_here() -> None:
    mesh = Mesh(3, replace(QUIET, queue_capacity=12, principal_share=0.25))

    def yields(user: str, prompt_ids: str) -> list[bool]:
        before = len(mesh.sent)
        for prompt_id in prompt_ids:
            mesh.ask("d0", layers=1, fanout=1, prompt_id=prompt_id, user=user)
        mesh.run(until=mesh.now + 0.001)
        return [message.yields for _, _, message in mesh.sent[before:] if isinstance(message, ProposalRequest)]

    assert yields("u1", "abc") == [False] * 3
    assert yields("u1", "def") == [True] * 3
    assert yields("u2", "a") == [False]
    mesh.run()
    assert yields("u1", "g") == [False], "it has nothing here any more"


def test_the_longest_deadline_is_no_longer_on_its_way_to_peers_and_journal() -> None:
    """Once a device has run for half a day, (now + a day) - now is often more than a day."""
    moments = [50_000.0 + number * 0.7310713 for number in range(40)]
    assert any((now + DEADLINE_MAX_S) - now > DEADLINE_MAX_S for now in moments), "nothing is tested"
    for now in moments:
        mesh = Mesh(2)
        mesh.run(until=now)
        effects = mesh.handle("d0", asks_until(DEADLINE_MAX_S))
        noted = [effect.deadline_in_s for effect in effects if isinstance(effect, fx.JournalPrompt)]
        told = [message.expires_in_s for _, _, message in requests_of(mesh)]
        assert len(noted) == len(told) == 1
        assert all(left is not None and 0 < left <= DEADLINE_MAX_S for left in (*noted, *told))


def asks_until(deadline_s: float) -> ev.PromptReceived:
    options = PromptOptions(layers=1, fanout=1, deadline_s=deadline_s)
    return ev.PromptReceived(Prompt("p", (ChatMessage(Role.USER, "why?"),), options), ev.ReplyRoute("u1", "0"), 4)
