"""From OpenAI's request to a prompt. What would change the answer and cannot be done is refused; hints are ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from edge_agent.core.messages import OUTPUT_TOKENS_MAX, ChatMessage, PromptOptions, Role, Sampling
from edge_agent.gateway.errors import ApiError, invalid, unsupported
from edge_agent.gateway.names import plan_of
from edge_agent.gateway.schemas import ChatCompletionRequest, ContentPart, Message, Moamesh

SEED_RANGE = 2**31  # seeds beyond it are folded into it: OpenAI's are any 64 bits, a model's generator takes 32

_ROLES = {"system": Role.SYSTEM, "developer": Role.SYSTEM, "user": Role.USER, "assistant": Role.ASSISTANT}
_TOOLS = "the mesh's models answer in text and cannot call tools"

_REFUSED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "tools": (bool, _TOOLS),
    "functions": (bool, _TOOLS),
    "logprobs": (bool, "devices do not report token probabilities"),
    "top_logprobs": (bool, "devices do not report token probabilities"),
    "logit_bias": (bool, "token ids differ from device to device"),
    "audio": (bool, "the mesh's models speak in text"),
    "modalities": (lambda value: value != ["text"], "the mesh's models speak in text"),
    "web_search_options": (lambda _value: True, "devices cannot search the web"),
    "moderation": (lambda _value: True, "the mesh does no moderation"),
}
"""Left out in silence these would give another answer than was asked for: when a value counts, and why not."""

_NO_EFFECT = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("prompt_cache_options", "prediction", "parallel_tool_calls", "tool_choice", "function_call"),
}
"""Not about the text of an answer, or about tools that were not given: ignored without a word."""

_NEUTRAL: Mapping[str, Any] = {"top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
"""Values with which an ignored option asks for nothing."""

IGNORED_NAMED_MAX = 16  # names of ignored options that an answer tells


@final
@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request, understood. `ignored`: options that had no effect, though the client may have wanted one."""

    model: str
    messages: tuple[ChatMessage, ...]
    options: PromptOptions
    device_id: str | None
    stream: bool
    include_usage: bool
    ignored: tuple[str, ...]


def read_request(body: ChatCompletionRequest) -> ParsedRequest:
    """Returns what is asked.

    Raises:
        ApiError: 404 for an unknown model, 400 for what cannot be done; it says what and why.
    """
    plan = plan_of(body.model)
    if plan is None:
        raise no_such_model(body.model)
    _check_supported(body)
    own = body.moamesh or Moamesh()
    options = PromptOptions(
        layers=plan.layers if own.layers is None else own.layers,
        fanout=plan.fanout if own.fanout is None else own.fanout,
        deadline_s=own.deadline_s,
        join=own.join,
        sampling=_sampling(body),
    )
    streams = body.stream_options
    return ParsedRequest(
        model=body.model,
        messages=tuple(_turn(turn, f"messages.{number}") for number, turn in enumerate(body.messages)),
        options=options,
        device_id=own.device,
        stream=bool(body.stream),
        include_usage=bool(streams is not None and streams.include_usage),
        ignored=_ignored(body.model_extra or {}),
    )


def no_such_model(name: str) -> ApiError:
    """404, as OpenAI says it."""
    return ApiError(
        404,
        f"The model {name[:64]!r} does not exist: there are moa, local and moa-mM-kK (M 0 to 8, k 0 to 16)",
        param="model",
        code="model_not_found",
    )


def _check_supported(body: ChatCompletionRequest) -> None:
    if body.n not in (None, 1):
        raise unsupported("n", "one answer for each request; ask again for another")
    if body.response_format is not None and body.response_format.get("type") != "text":
        raise unsupported(
            "response_format", "the mesh's models answer in plain text; describe the wanted format in the prompt"
        )
    for name, value in (body.model_extra or {}).items():
        counts, why = _REFUSED.get(name, (None, ""))
        if counts is not None and value is not None and counts(value):
            raise unsupported(name, why)


def _ignored(extra: Mapping[str, Any]) -> tuple[str, ...]:
    names = (
        name[:64]
        for name, value in extra.items()
        if name not in _NO_EFFECT and name not in _REFUSED and value is not None and value != _NEUTRAL.get(name)
    )
    return tuple(sorted(names)[:IGNORED_NAMED_MAX])


def _sampling(body: ChatCompletionRequest) -> Sampling:
    default = Sampling()
    tokens = body.max_completion_tokens or body.max_tokens or default.max_output_tokens
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    try:
        return Sampling(
            max_output_tokens=min(tokens, OUTPUT_TOKENS_MAX),  # an upper bound: a lower one keeps it
            temperature=default.temperature if body.temperature is None else body.temperature,
            seed=None if body.seed is None else body.seed % SEED_RANGE,
            stop=stop,
        )
    except ValueError as error:
        raise invalid(str(error), "stop") from None


def _turn(turn: Message, where: str) -> ChatMessage:
    extra = turn.model_extra or {}
    if turn.role in ("tool", "function") or extra.get("tool_calls") or extra.get("function_call"):
        raise invalid(f"{where}: a chat with tool calls cannot be answered: {_TOOLS}", where, "unsupported_value")
    role = _ROLES.get(turn.role)
    if role is None:
        raise invalid(f"{where}.role: must be system, developer, user or assistant", f"{where}.role", "invalid_value")
    if turn.content is None:
        raise invalid(f"{where}.content: is missing", f"{where}.content", "invalid_value")
    if isinstance(turn.content, str):
        return ChatMessage(role, turn.content)
    parts = (_part(part, f"{where}.content.{number}") for number, part in enumerate(turn.content))
    return ChatMessage(role, "".join(parts))


def _part(part: ContentPart, where: str) -> str:
    text = {"text": part.text, "input_text": part.text, "refusal": part.refusal}.get(part.type)
    if text is None:
        raise invalid(f"{where}: the mesh's models read text only, not {part.type[:64]!r}", where, "unsupported_value")
    return text
