"""A chat and how it is to be answered: what users choose, with the bounds of what they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

LAYERS_MAX = 8  # quality has long flattened out by then (MoA, arXiv 2406.04692, uses 3); bounds work per prompt
FANOUT_MAX = 16  # as many references as fit into the context of a small model, with room to spare
DEADLINE_MAX_S = 86_400.0  # a day: what is wanted later than that should be asked later
OUTPUT_TOKENS_MAX = 8_192


class Role(StrEnum):
    """Who speaks in a chat."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@final
@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a chat."""

    role: Role
    content: str


@final
@dataclass(frozen=True, slots=True)
class Sampling:
    """How the LLM draws tokens. `max_output_tokens` bounds the service time of every item of the prompt."""

    max_output_tokens: int = 256
    temperature: float = 0.7  # as in MoA: proposers that sample differ from each other
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.max_output_tokens <= OUTPUT_TOKENS_MAX:
            raise ValueError(f"max_output_tokens must be 1 to {OUTPUT_TOKENS_MAX}")
        if not 0.0 <= self.temperature <= 5.0:
            raise ValueError("temperature must be 0 to 5")
        if len(self.stop) > 8 or not all(0 < len(text) <= 64 for text in self.stop):
            raise ValueError("stop must be at most 8 texts of 1 to 64 characters")


@final
@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What a user may choose for one prompt; `None` leaves the choice to the device's own settings.

    layers: M, the number of MoA layers; 0 is the plain local LLM.
    fanout: k, the peers asked in each layer beside the device itself.
    deadline_s: the answer is worth nothing after this many seconds.
    join: how many of the k+1 responses of a layer are waited for; `None` is the device's join policy.
    """

    layers: int | None = None
    fanout: int | None = None
    deadline_s: float | None = None
    join: int | None = None
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        if self.layers is not None and not 0 <= self.layers <= LAYERS_MAX:
            raise ValueError(f"layers must be 0 to {LAYERS_MAX}")
        if self.fanout is not None and not 0 <= self.fanout <= FANOUT_MAX:
            raise ValueError(f"fanout must be 0 to {FANOUT_MAX}")
        if self.deadline_s is not None and not 0.0 < self.deadline_s <= DEADLINE_MAX_S:
            raise ValueError(f"deadline_s must be above 0 and at most {DEADLINE_MAX_S:g}")
        if self.join is not None and not 1 <= self.join <= FANOUT_MAX + 1:
            raise ValueError(f"join must be 1 to {FANOUT_MAX + 1}")
