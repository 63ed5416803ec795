"""The messages between the agent and its model process: one JSON object a line, both ends of the same version."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Of one line. A 128 KiB prompt with 17 references of 32 KiB is 0.7 MB; escapes may lengthen that up to sixfold."""


@dataclass(frozen=True, slots=True)
class Load:
    """First to the child: which model to load and how."""

    model_path: str
    threads: int
    context_tokens: int
    instruction: str
    slots: int
    """Requests that are worked on at once."""


@dataclass(frozen=True, slots=True)
class Infer:
    """To the child: infer. Ids count up; a request that finds every slot taken waits for one."""

    id: int
    messages: list[list[str]]
    """Pairs of role and content."""
    references: list[str]
    max_output_tokens: int
    temperature: float
    seed: int | None
    stop: list[str]
    stream: bool
    """Whether text is wanted as it is generated; else it comes with the end."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the child: stop with this request."""

    id: int


@dataclass(frozen=True, slots=True)
class Ready:
    """From the child: the model is loaded."""

    context_tokens: int
    open_doors: str
    """What does not confine it on this machine, in words; "" if everything does."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """From the child, which then ends: the model will not load."""

    detail: str


@dataclass(frozen=True, slots=True)
class Progress:
    """From the child: still at work on the prompt, or on a token that makes no text yet."""

    id: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Text:
    """From the child: some more text, whole characters only."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """From the child: the request is complete."""

    id: int
    input_tokens: int
    output_tokens: int
    input_tokens_cut: int
    finish_reason: str
    """`FinishReason`: "stop" or "length"."""
    input_tokens_kept: int
    """Of the prompt: in the cache already, from a request before."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """From the child: the request was stopped as asked."""

    id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: the request could not be done."""

    id: int
    detail: str
    retryable: bool


ToChild: TypeAlias = Load | Infer | Cancel
FromChild: TypeAlias = Ready | LoadFailed | Progress | Text | Done | Cancelled | Failed

NUMBER_MAX = 2**53
"""Of ids and counts: what JSON carries exactly."""

_TO_CHILD = {kind.__name__: kind for kind in (Load, Infer, Cancel)}
_FROM_CHILD = {kind.__name__: kind for kind in (Ready, LoadFailed, Progress, Text, Done, Cancelled, Failed)}


def encode(message: ToChild | FromChild) -> bytes:
    """Returns the message as one line, newline included."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode_to_child(line: bytes) -> ToChild:
    """Reads a line of the parent's.

    Raises:
        ValueError: it is none.
    """
    kind, fields = _parse(line)
    try:
        return _TO_CHILD[kind](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from None


def decode_from_child(line: bytes) -> FromChild:
    """Reads a line of the child's. Its types are looked at: a process whose memory is damaged may say anything.

    Raises:
        ValueError: it is none.
    """
    kind, given = _parse(line)
    try:
        message = _FROM_CHILD[kind](**given)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from None
    for field in fields(message):
        if not _is_a(field.type, getattr(message, field.name)):
            raise ValueError(f"not a message: {field.name} of {kind}")
    return message


def _is_a(kind: object, value: object) -> bool:
    if kind == "int":
        return type(value) is int and 0 <= value <= NUMBER_MAX
    return type(value).__name__ == kind


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        given = json.loads(line)
    except RecursionError:
        raise ValueError("not a message: nested without end") from None
    if not isinstance(given, dict):
        raise ValueError("not a message: no JSON object")
    return str(given.pop("kind", "")), given
