"""From OpenAI's request to a prompt: what is understood, refused in words, or ignored."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edge_agent.core.messages import OUTPUT_TOKENS_MAX, ChatMessage, Role, Sampling
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.names import LISTED, plan_of
from edge_agent.gateway.reading import ParsedRequest, read_request
from edge_agent.gateway.schemas import ChatCompletionRequest


def read(**fields: Any) -> ParsedRequest:
    body = {"model": "moa", "messages": [{"role": "user", "content": "hi"}], **fields}
    return read_request(ChatCompletionRequest.model_validate(body))


def refusal(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("moa", (None, None)),
        ("local", (0, 0)),
        ("moa-m2-k3", (2, 3)),
        ("moa-m0-k0", (0, 0)),
        ("moa-m8-k16", (8, 16)),
    ],
)
def test_a_models_name_is_a_plan(name: str, plan: tuple[int | None, int | None]) -> None:
    options = read(model=name).options
    assert (options.layers, options.fanout) == plan


@pytest.mark.parametrize("name", ["", "Moa", "moa-m9-k0", "moa-m2-k17", "moa-m02-k1", "moa-m2", "moa-m2-k3\n", "gpt-4"])
def test_any_other_name_is_no_model(name: str) -> None:
    error = refusal(model=name)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")


def test_every_listed_model_exists() -> None:
    assert all(plan_of(name) is not None for name in LISTED)


def test_roles_become_ours_and_parts_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = read(
        messages=[
            {"role": "developer", "content": "rules"},
            {"role": "user", "content": parts, "name": "alice"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "user", "content": "and now?"},
        ]
    )
    assert asked.messages == (
        ChatMessage(Role.SYSTEM, "rules"),
        ChatMessage(Role.USER, "ab"),
        ChatMessage(Role.ASSISTANT, "no"),
        ChatMessage(Role.USER, "and now?"),
    )


def test_sampling_is_taken_over_and_bounds_are_kept() -> None:
    sampling = read(max_tokens=5, temperature=0, seed=3, stop="END").options.sampling
    assert sampling == Sampling(5, 0.0, 3, ("END",))
    assert read(max_tokens=5, max_completion_tokens=7).options.sampling.max_output_tokens == 7
    assert read(max_tokens=10**9).options.sampling.max_output_tokens == OUTPUT_TOKENS_MAX
    assert read(seed=-1).options.sampling.seed == 2**31 - 1
    assert read(stop=["a", "b"]).options.sampling.stop == ("a", "b")
    assert read().options.sampling == Sampling()


def test_the_extension_counts_over_the_models_name() -> None:
    asked = read(model="moa-m2-k3", moamesh={"layers": 1, "deadline_s": 5, "join": 2, "device": "kitchen"})
    options = asked.options
    assert (options.layers, options.fanout, options.deadline_s, options.join) == (1, 3, 5.0, 2)
    assert asked.device_id == "kitchen"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"stop": ["x" * 65]}, "stop"),
        ({"messages": [{"role": "tool", "content": "1", "tool_call_id": "x"}]}, "messages.0"),
        ({"messages": [{"role": "function", "content": "1", "name": "x"}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "messages.0"),
        ({"messages": [{"role": "robot", "content": "1"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0"),
    ],
)
def test_what_would_change_the_answer_and_cannot_be_done_is_refused(fields: dict[str, Any], param: str) -> None:
    error = refusal(**fields)
    assert (error.status, error.kind, error.param) == (400, "invalid_request_error", param)
    assert error.message


def test_values_that_ask_for_nothing_are_no_reason_to_refuse() -> None:
    asked = read(
        n=1,
        tools=[],
        response_format={"type": "text"},
        logprobs=False,
        logit_bias={},
        modalities=["text"],
        tool_choice="none",
        top_p=1.0,
        frequency_penalty=0,
        user="u",
        metadata={"a": "b"},
        store=False,
    )
    assert asked.ignored == ()


def test_hints_without_effect_are_ignored_and_named() -> None:
    assert read(top_p=0.5, presence_penalty=1, top_k=40, reasoning_effort="low").ignored == (
        "presence_penalty",
        "reasoning_effort",
        "top_k",
        "top_p",
    )
    assert len(read(**{f"x{number}": 1 for number in range(100)}).ignored) == 16


@pytest.mark.parametrize(
    "messages",
    [
        [{}] * 2_000,
        [{"role": "user", "content": [{}] * 255}] * 2_000,
        [{"role": "user", "content": [1] * 255}] * 2_000,
        [{"role": "user", "content": [{}] * 300_000}],
    ],
)
def test_a_request_is_refused_at_its_first_reasons_however_many_there_are(messages: list[Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatCompletionRequest.model_validate({"model": "moa", "messages": messages})
    assert caught.value.error_count() < 10
