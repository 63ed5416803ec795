"""What made an answer: every inference that went into it, and every one that should have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final


class FinishReason(StrEnum):
    """Why the text of an inference ends where it does, in the words of OpenAI's API."""

    STOP = "stop"
    """The model, or a text to stop at, ended it."""
    LENGTH = "length"
    """A bound did: the tokens asked for, the context, or the size of an answer."""


@final
@dataclass(frozen=True, slots=True)
class Contribution:
    """One inference that went into an answer, by whom, with what it cost."""

    device_id: str
    model: str
    waiting_time_s: float
    service_time_s: float
    input_tokens: int
    output_tokens: int
    input_tokens_cut: int = 0
    """Tokens of prompt and references that did not fit into the model's context."""
    synthetic: bool = False
    """Made by the synthetic load engine: a declared service time, not a language model."""
    finish_reason: FinishReason = FinishReason.STOP
    """Why its text ends."""


@final
@dataclass(frozen=True, slots=True)
class Missing:
    """A response that was expected in a layer and did not come."""

    layer: int
    device_id: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Substitute:
    """A peer asked in the place of another."""

    layer: int
    device_id: str
    instead_of: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy made of a layer's responses, told only where it is not the plain "all of them, and go on"."""

    layer: int
    kind: str
    """`response_selection`, `early_stop`, or `judge` for what an LLM call decided of both."""
    chosen: tuple[str, ...]
    """Devices whose responses went on, in the order in which they were given to the LLM."""
    stops: bool
    """Whether the layers left were not run."""
    detail: str
    """Why a judge was of no use; "" otherwise."""
    work: Contribution | None
    """The judge's inference."""


@final
@dataclass(frozen=True, slots=True)
class Provenance:
    """What made an answer."""

    device_id: str
    layer_count: int
    fanout: int
    layers: tuple[tuple[Contribution, ...], ...]
    aggregation: Contribution | None
    substitutes: tuple[Substitute, ...]
    missing: tuple[Missing, ...]
    policies: tuple[tuple[str, str], ...]
    """(kind, name) of every policy in force, in a fixed order."""
    messages_sent: int
    """Requests, cancels and their repeats sent for this prompt."""
    messages_received: int
    """Receipts and responses that came back for it."""
    restarts: int = 0
    """How often the session was resumed from the journal."""
    decisions: tuple[Decision, ...] = ()
    answer_from: str = ""
    """The device whose proposal is the answer, of one that is partial; "" if it was aggregated."""
    reference_bytes_cut: int = 0
    """Bytes of references that did not fit into a message to a peer, summed over the layers."""
