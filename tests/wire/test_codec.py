from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.core import messages as m
from edge_agent.core.errors import ProtocolError
from edge_agent.core.states import ItemOutcome, Outcome
from edge_agent.wire import codec
from edge_agent.wire.codec import UserInputError, decode, decode_prompt, encode
from edge_agent.wire.salvage import Salvage
from tests.wire.strategies import messages

KINDS: tuple[type, ...] = get_args(m.Message)
PROMPT = m.Prompt("p1", (m.ChatMessage(m.Role.USER, "What is a dog?"),))


def body(**changes: Any) -> bytes:
    """A prompt in the short form with some fields changed; `...` takes a field out."""
    fields: dict[str, Any] = {"v": 2, "type": "prompt", "prompt_id": "p1", "text": "What is a dog?", **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refusal(data: bytes) -> UserInputError:
    with pytest.raises(UserInputError) as caught:
        decode_prompt(data)
    return caught.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_message_comes_back_as_it_was_sent(kind: type, data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    assert decode(encode(message)) == message


@given(message=messages(*get_args(m.DeviceToUser)), body_id=st.text('abc-é"\\', min_size=1, max_size=20))
def test_replies_repeat_the_id_of_a_3_1_1_client_in_their_body(message: m.DeviceToUser, body_id: str) -> None:
    data = encode(message, body_id)
    assert json.loads(data)["id"] == body_id
    assert decode(data) == message


def test_a_body_is_a_flat_object_with_version_and_kebab_case_type() -> None:
    assert json.loads(encode(m.PromptReceipt("p1", "d1", None))) == {
        "v": 2,
        "type": "prompt-receipt",
        "prompt_id": "p1",
        "device_id": "d1",
        "expected_wait_s": None,
        "durable": True,
    }
    assert sorted(codec.TYPE_NAMES.values())[:4] == ["answer", "answers-page", "answers-query", "device-status"]


def check_error(error: ProtocolError) -> None:
    m.RefusalReason(error.reason)
    assert 0 < len(error.detail) <= codec.DETAIL_LENGTH_MAX
    assert error.detail.isprintable()
    assert len(error.message_id) <= 128


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff")
@example(b"[" * 100_000)
@example(b'{"v":2,"type":"prompt","prompt_id":"p","text":"x","options":{"deadline_s":1e999}}')
@example(b'{"v":2,"type":"prompt","prompt_id":"p","text":"x","options":{"layers":' + b"9" * 6000 + b"}}")
@example(b'{"v":2,"type":"prompt","prompt_id":"\\ud800","text":"x"}')
def test_arbitrary_bytes_are_refused_with_one_short_line_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    check_error(caught.value)
    with pytest.raises(UserInputError) as caught_input:
        decode_prompt(data)
    check_error(caught_input.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(message=messages(), data=st.data())
def test_a_message_with_one_field_made_into_anything_is_read_or_refused(
    message: m.Message, data: st.DataObject
) -> None:
    fields = json.loads(encode(message))
    name = data.draw(st.sampled_from(sorted(fields)) | st.text(max_size=10))
    fields[name] = data.draw(json_values)
    mutated = json.dumps(fields).encode()
    for read in (decode, decode_prompt):
        try:
            read(mutated)
        except ProtocolError as error:
            check_error(error)


@given(message=messages(), data=st.data())
def test_a_message_with_bytes_changed_or_cut_is_read_or_refused(message: m.Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    for read in (decode, decode_prompt):
        try:
            read(bytes(raw))
        except ProtocolError as error:
            check_error(error)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "body: empty"),
        (b"\xef\xbb\xbf\0\0\r\n", "body: empty"),
        (b"\xff\xfe", "body: UTF-16"),
        ("{}".encode("utf-16"), "body: UTF-16"),
        ("{}".encode("utf-16-be"), "body: UTF-16"),
        (b'{"a": "\xe4"}', "body: not UTF-8: byte 0xe4 at 7"),
        (b"{}\0{", "body: not JSON"),
        (b"[]", "body: not a JSON object"),
        (body(v=...), "v: the schema version is missing"),
        (body(type=...), "type: must be prompt or prompt-cancel or answers-query here"),
        (body(type="answer"), "type: must be prompt or prompt-cancel or answers-query here"),
        (body(prompt_id=...), "prompt_id: "),
        (body(prompt_id=""), "prompt_id: must be 1 to 128"),
        (body(text=...), "messages: "),
        (body(text=" \n"), "messages: the prompt is empty"),
        (body(text=7), "text: must be a text"),
        (body(messages=[]), "text: stands for messages"),
        (body(colour="red"), "colour: no such field"),
        (body(options={"layers": 1.5}), "options.layers: "),
        (body(options={"layers": "2"}), "options.layers: "),
        (body(options={"layers": True}), "options.layers: "),
        (body(options={"layers": -1}), "options: layers must be 0 to 8"),
        (body(options={"fanout": -1}), "options: fanout must be 0 to 16"),
        (body(options={"fanout": 0.5}), "options.fanout: "),
        (body(options={"deadline_s": 0}), "options: deadline_s must be above 0"),
        (body(options={"sampling": {"temperature": 9}}), "options.sampling: temperature must be 0 to 5"),
        (body(options={"sampling": {"heat": 9}}), "options.sampling.heat: no such field"),
        (body(text=..., messages=[{"role": "king", "content": "x"}]), "messages.0.role: "),
        (b'{"v":2,"type":"prompt","prompt_id":"p","text":"x","options":{"deadline_s":NaN}}', "body: not JSON"),
        (b'{"v":2,"type":"prompt","prompt_id":"p","text":"x","options":{"deadline_s":1e999}}', "options.deadline_s: "),
    ],
)
def test_a_refusal_names_the_field(data: bytes, detail: str) -> None:
    error = refusal(data)
    assert error.reason == m.RefusalReason.INVALID
    assert error.detail.startswith(detail)


@pytest.mark.parametrize("version", [1, 3, 0, "2", 2.0, True, [2]])
def test_another_schema_version_is_refused_as_such(version: object) -> None:
    error = refusal(body(v=version))
    assert error.reason == m.RefusalReason.UNSUPPORTED_VERSION
    assert error.message_id == "p1"


def test_a_body_over_the_limit_is_refused_unread() -> None:
    exactly = encode(PROMPT)
    assert decode(exactly, bytes_max=len(exactly)) == PROMPT
    with pytest.raises(ProtocolError) as caught:
        decode(exactly, bytes_max=len(exactly) - 1)
    assert caught.value.reason == m.RefusalReason.TOO_LARGE
    assert refusal(b"x" * (codec.BODY_BYTES_MAX + 1)).reason == m.RefusalReason.TOO_LARGE


def test_a_message_that_does_not_belong_on_its_topic_is_refused() -> None:
    with pytest.raises(ProtocolError, match="type: must be prompt-cancel here"):
        decode(encode(PROMPT), (m.PromptCancel,))


def test_the_short_form_is_the_same_prompt() -> None:
    assert decode_prompt(body()).message == PROMPT
    assert decode_prompt(body()) == codec.UserInput(PROMPT, "0", "")
    by_id = decode_prompt(body(prompt_id=..., id="p1", client="phone"))
    assert by_id == codec.UserInput(PROMPT, "phone", "p1")
    assert decode_prompt(body(id="other")).message == PROMPT


def test_a_cancel_is_read_from_the_prompts_topic() -> None:
    assert decode_prompt(encode(m.PromptCancel("p1"))).message == m.PromptCancel("p1")


def test_a_query_is_read_from_the_prompts_topic_and_an_id_may_stand_for_its_own() -> None:
    query = m.AnswersQuery("q1", since_s=60.0)
    assert decode_prompt(encode(query)).message == query
    short = b'{"v": 2, "type": "answers-query", "id": "q1", "client": "phone", "prompt_id": "p1"}'
    assert decode_prompt(short) == codec.UserInput(m.AnswersQuery("q1", "p1"), "phone", "q1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count_max", 0),
        ("count_max", 101),
        ("since_s", -1.0),
        ("of_client", "A/B"),
        ("after", "x" * 300),
        ("query_id", ""),
    ],
)
def test_a_query_over_a_bound_is_refused_by_its_id(field: str, value: object) -> None:
    fields = {"v": 2, "type": "answers-query", "query_id": "q1", "prompt_id": "p1"}
    error = refusal(json.dumps({**fields, field: value}).encode())
    assert error.detail.startswith(f"{field}: ")
    assert error.message_id == ("q1" if field != "query_id" else "")


def test_a_page_with_another_devices_answer_is_not_believed() -> None:
    provenance = m.Provenance("kitchen", 0, 0, (), None, (), (), (), 0, 0)
    answer = m.Answer("p1", "kitchen", Outcome.ANSWERED, "it", "", 1.0, provenance)
    line = m.AnswerSummary("p1", "0", m.Standing.ANSWERED, 1.0, "it", 2)
    page = m.AnswersPage("q1", "kitchen", (line,), answer)
    lie = dataclasses.replace(page, device_id="attic")
    assert decode(encode(page), sender="kitchen") == page
    with pytest.raises(ProtocolError, match="sender: kitchen speaks on the topic of attic"):
        decode(encode(lie), sender="attic")


def test_a_query_that_does_not_parse_is_refused_by_its_own_id_and_not_by_the_prompts() -> None:
    text = json.dumps({"v": 2, "type": "answers-query", "prompt_id": "p1", "query_id": "q1"})
    assert refusal(text[:-1].encode()).message_id == "q1"
    assert Salvage(text.encode()).message_id(80) == "q1"


def test_which_client_sent_a_bad_message_is_still_known_where_it_can_be_read() -> None:
    error = refusal(body(id="i1", client="phone", options={"layers": -1}))
    assert (error.client, error.body_id, error.message_id) == ("phone", "i1", "p1")


@pytest.mark.parametrize("fields", [{"prompt_id": "a\nb"}, {"prompt_id": "\x85"}, {"prompt_id": ..., "id": "\ue000"}])
def test_a_refusal_of_an_id_that_cannot_be_shown_can_be_read(fields: dict[str, Any]) -> None:
    for wrong in ({}, {"client": "A"}, {"options": 7}):
        error = refusal(body(**fields, **wrong))
        assert decode(encode(m.PromptRefusal(error.message_id, "d0", error.reason, error.detail), error.body_id))


def test_a_body_that_does_not_parse_is_of_the_default_client_and_shows_its_id() -> None:
    error = refusal(body(id="i1", client="phone")[:-1])
    assert (error.client, error.body_id, error.message_id) == ("0", "i1", "p1")


@pytest.mark.parametrize("client", [7, None, "A", "a/b", "+", "a" * 65])
def test_what_is_no_client_id_is_refused_at_the_default_client(client: object) -> None:
    error = refusal(body(client=client))
    assert error.detail.startswith("client: ")
    assert (error.client, error.message_id) == ("0", "p1")


def test_no_body_says_where_it_is_answered() -> None:
    assert refusal(body(reply_to="somewhere")).detail == "reply_to: no such field"


REQUEST = m.ProposalRequest("r1", "d1", "", 1, PROMPT.messages, (), m.Sampling(), 5.0)
ENTRY = m.PeerEntry("d1", "", "m", "f", 1, 1, 0, None)


@pytest.mark.parametrize(
    "message",
    [
        dataclasses.replace(REQUEST, origin="d1/../+"),
        dataclasses.replace(REQUEST, layer=0),
        dataclasses.replace(REQUEST, layer=m.LAYERS_MAX + 1),
        dataclasses.replace(REQUEST, messages=()),
        dataclasses.replace(REQUEST, references=("r",) * (m.FANOUT_MAX + 2)),
        dataclasses.replace(REQUEST, expires_in_s=0.0),
        dataclasses.replace(REQUEST, request_id="r\n1"),
        dataclasses.replace(REQUEST, request_id="r" * 129),
        m.RequestReceipt("r1", "D1", None, 0, None),
        m.RequestReceipt("r1", "d1", None, -1, None),
        m.RequestReceipt("r1", "d1", None, 0, -0.5),
        m.ViewExchange((), True),
        m.ViewExchange((ENTRY,) * 257, True),
        m.ViewExchange((dataclasses.replace(ENTRY, device_id=""),), True),
        m.ViewExchange((dataclasses.replace(ENTRY, heartbeat=2**60),), True),
        m.ViewExchange((dataclasses.replace(ENTRY, model="x" * 257),), True),
        m.ViewExchange((dataclasses.replace(ENTRY, service_time_s_mean=-1.0),), True),
    ],
)
def test_a_peers_message_that_is_well_typed_but_out_of_bounds_is_refused(message: m.Message) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(encode(message))
    assert caught.value.reason == m.RefusalReason.INVALID


SPOKEN = (
    REQUEST,
    m.RequestCancel("r1", "d1"),
    m.RequestReceipt("r1", "d1", None, 0, None),
    m.ProposalResponse("r1", ItemOutcome.COMPLETED, "x", "", m.Contribution("d1", "m", 0.0, 0.0, 0, 0, 0, True)),
    m.ViewExchange((ENTRY, dataclasses.replace(ENTRY, device_id="d2")), True),
    m.Presence(ENTRY, m.PresenceState.ONLINE, 4, "1"),
)


@pytest.mark.parametrize("message", SPOKEN, ids=lambda message: type(message).__name__)
def test_a_message_that_says_another_sender_than_its_topic_is_refused(message: m.Message) -> None:
    assert decode(encode(message), sender="d1") == message
    for sender in ("d2", "user.d1", "operator"):
        with pytest.raises(ProtocolError) as caught:
            decode(encode(message), sender=sender)
        assert caught.value.detail == f"sender: d1 speaks on the topic of {sender}"


def test_every_message_between_devices_says_who_it_is_from() -> None:
    assert {type(message) for message in SPOKEN} == {*get_args(m.PeerMessage), m.Presence}


def test_a_refusal_does_not_echo_what_was_sent() -> None:
    secret = "hunter2" * 100
    for data in (body(**{secret: 1}), body(type=secret), body(prompt_id=secret), body(options={"layers": secret})):
        assert refusal(data).detail.count("hunter2") <= 9


def test_a_refusal_of_what_had_no_readable_id_can_be_read() -> None:
    refusal = m.PromptRefusal("", "d0", m.RefusalReason.INVALID, "no JSON")
    assert decode(encode(refusal)) == refusal
