"""What a prompt becomes in its last layer fits into a message, whatever its text is made of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic_core import to_json

from edge_agent.core import events as ev
from edge_agent.core.messages import (
    Answer,
    Contribution,
    Decision,
    Missing,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
    Provenance,
    RefusalReason,
    Substitute,
)
from edge_agent.core.sizes import (
    answer_size,
    chat_size,
    fit_references,
    fit_text,
    json_size,
    provenance_size,
    size_of,
)
from edge_agent.core.states import Outcome
from edge_agent.wire.codec import BODY_BYTES_MAX, encode
from tests.core.mesh import QUIET, Mesh

TEXTS = {
    "plain words": "word ",
    "quotes": '"',
    "backslashes": "\\",
    "newlines": "\n",
    "control characters": "\x01",
    "two bytes": "ü",
    "emoji": "🙂",
    "line separators": "\u2028",
    "delete": "\x7f",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_size_of_a_text_in_a_message_is_what_the_codec_makes_of_it(text: str) -> None:
    many = text * 100
    assert json_size(many) == len(to_json(many)) - 2


@pytest.mark.parametrize("fill", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("fanout", [2, 8, 16])
def test_layers_of_the_longest_responses_travel_whole_or_cut_and_nobody_is_suspected(fanout: int, fill: str) -> None:
    mesh = Mesh(fanout + 1)
    mesh.say = lambda device, request: (f"{device} " + fill * 40_000)[:40_000]
    key = mesh.ask("d0", text="x" * 100_000, layers=2, fanout=fanout)
    mesh.run()
    for _, _, message in mesh.sent:
        assert len(encode(message)) <= BODY_BYTES_MAX
    answer = mesh.answer(key)
    assert len(encode(answer)) <= BODY_BYTES_MAX
    assert answer.outcome is Outcome.ANSWERED
    assert answer.provenance.missing == ()
    requests = [message for _, _, message in mesh.sent if isinstance(message, ProposalRequest) and message.layer == 2]
    assert all(len(request.references) == fanout + 1 for request in requests), "each keeps at least its beginning"
    whole = {message.text for _, _, message in mesh.sent if isinstance(message, ProposalResponse)}
    nothing_cut = all(text in whole or text.startswith("d0 ") for text in requests[0].references)
    assert (answer.provenance.reference_bytes_cut == 0) == nothing_cut
    assert all(agent.counters.peers_suspected == 0 for agent in mesh.agents.values())


def test_a_broker_that_takes_less_counts_and_a_prompt_that_does_not_fit_is_refused_at_once() -> None:
    mesh = Mesh(4)
    for name in mesh.agents:
        mesh.handle(name, ev.ConnectionChanged(True, message_bytes_max=65_536))
    mesh.say = lambda device, request: "y" * 40_000
    refused = mesh.ask("d0", text="x" * 65_150, prompt_id="large")
    (refusal,) = mesh.user_messages[refused]
    assert isinstance(refusal, PromptRefusal)
    assert (refusal.reason, refusal.retry_after_s) == (RefusalReason.TOO_LARGE, None)
    assert "63488 bytes" in refusal.detail
    key = mesh.ask("d0", text="x" * 30_000, layers=2, fanout=3)
    mesh.run()
    assert all(len(encode(message)) <= 65_536 for _, _, message in mesh.sent)
    assert all(len(encode(message)) <= 65_536 for message in mesh.user_messages[key])
    assert mesh.answer(key).outcome is Outcome.ANSWERED
    assert mesh.answer(key).provenance.reference_bytes_cut > 0


def test_references_that_fit_are_left_as_they_are() -> None:
    mesh = Mesh(3)
    key = mesh.ask("d0", layers=2, fanout=2)
    mesh.run()
    assert mesh.answer(key).provenance.reference_bytes_cut == 0


def test_the_longest_references_give_first() -> None:
    texts, cut = fit_references((), ["short", "long " * 1_000, "longer " * 1_000], 2_048 + 3_000)
    assert texts[0] == "short"
    assert abs(len(texts[1]) - len(texts[2])) <= 1
    assert cut == 5 + 5_000 + 7_000 - sum(map(len, texts))


def test_a_response_is_cut_by_its_own_bound_and_by_the_message() -> None:
    assert fit_text("x" * 100, 40, 10_000) == "x" * 40
    assert len(fit_text("\x01" * 1_000, 10_000, 2_048 + 600)) == 100
    assert fit_text("x", 40, 0) == ""


def test_a_session_reserves_what_two_layers_of_the_longest_responses_take() -> None:
    mesh = Mesh(4, replace(QUIET, response_bytes_max=1_000))
    mesh.ask("d0", text="x" * 500, layers=3, fanout=3)
    assert mesh.agents["d0"].queue.held_bytes == 500 + 2 * 4 * 1_000
    mesh.ask("d1", text="x" * 500, layers=1, fanout=3)
    assert mesh.agents["d1"].queue.held_bytes >= 500 + 4 * 1_000
    mesh.run()
    assert all(agent.queue.held_bytes == 0 for agent in mesh.agents.values())


def test_sizes_count_what_is_sent() -> None:
    mesh = Mesh(2)
    key = mesh.ask("d0", text='say "ü"', layers=1, fanout=1)
    mesh.run()
    answer = mesh.answer(key)
    assert isinstance(answer, Answer)
    request = next(message for _, _, message in mesh.sent if isinstance(message, ProposalRequest))
    assert size_of(request.messages) == 8
    assert chat_size(request.messages) >= len(json.dumps('say "ü"', ensure_ascii=False).encode()) - 2
    assert len(encode(answer)) <= answer_size(answer)


@pytest.mark.parametrize("limit", [8_192, 20_480, 65_536])
@pytest.mark.parametrize(("layers", "fanout"), [(2, 2), (3, 4), (6, 6), (8, 16)])
def test_an_answer_has_its_text_however_many_took_part_and_however_little_the_broker_takes(
    layers: int, fanout: int, limit: int
) -> None:
    mesh = Mesh(fanout + 1)
    mesh.say = lambda device, request: "word " * 200
    for name in mesh.agents:
        mesh.handle(name, ev.ConnectionChanged(True, message_bytes_max=limit))
    key = mesh.ask("d0", layers=layers, fanout=fanout)
    mesh.run()
    answer = mesh.answer(key)
    assert (answer.outcome, answer.text) == (Outcome.ANSWERED, "word " * 200)
    assert len(encode(answer)) <= limit
    assert (answer.provenance.aggregation is None) == (f"at most {limit:,} bytes" in answer.detail)


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_an_end_without_text_is_told_as_it_is_to_a_broker_that_takes_little(end: str) -> None:
    mesh = Mesh(17)
    for name in mesh.agents:
        mesh.handle(name, ev.ConnectionChanged(True, message_bytes_max=4_096))
    mesh.say = lambda device, request: "  "
    key = mesh.ask("d0", layers=8, fanout=16, deadline_s=7.0)
    mesh.run(until=6.0)
    if end == "cancelled":
        mesh.handle("d0", ev.PromptCancelReceived("p1", ev.ReplyRoute("u1")))
    mesh.run()
    answer = mesh.answer(key)
    assert answer.outcome.value == end
    assert len(encode(answer)) <= 4_096


@pytest.mark.parametrize("model", ["m" * 256, "模" * 256, '"' * 256, "🙂" * 256])
def test_who_took_part_takes_no_more_than_is_reckoned_with(model: str) -> None:
    work = Contribution("d" * 64, model, 1 / 3, 2e-308 / 3, 2**53, 2**53, 2**53)
    decision = Decision(8, "response_selection", ("d" * 64,) * 17, False, "", work)
    gone = tuple(Missing(8, "d" * 64, "layer_deadline") for _ in range(100))
    provenance = Provenance(
        *("d" * 64, 8, 16, ((work,) * 17,) * 8, work, (Substitute(8, "d" * 64, "d" * 64, "over_share"),) * 32, gone),
        *((), 2**53, 2**53, 8, (decision,) * 16),
    )
    answer = Answer("p" * 128, "d" * 64, Outcome.ANSWERED, "", "x" * 500, 1 / 3, provenance)
    assert len(encode(answer)) <= provenance_size(provenance)


def test_references_are_cut_anew_for_a_broker_that_takes_less_after_a_reconnect() -> None:
    mesh = Mesh(4)
    mesh.say = lambda device, request: "y" * 30_000
    key = mesh.ask("d0", text="x" * 20_000, layers=2, fanout=3)
    mesh.run(until=1.5)
    layers = [message.layer for *_, message in mesh.sent if isinstance(message, ProposalRequest)]
    assert layers[-1] == 2, "under way"
    before = len(mesh.sent)
    for name in mesh.agents:
        mesh.handle(name, ev.ConnectionChanged(False))
    for name in mesh.agents:
        mesh.handle(name, ev.ConnectionChanged(True, message_bytes_max=65_536))
    mesh.run()
    again = [message for *_, message in mesh.sent[before:] if isinstance(message, ProposalRequest)]
    assert len(again) >= 3
    assert all(len(encode(message)) <= 65_536 for message in again)
    assert all(len(message.references) == 4 for message in again)
    assert mesh.answer(key).provenance.reference_bytes_cut > 0
