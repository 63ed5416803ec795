"""What this device wants done: everything `Agent.handle` returns.

Effects are interpreted in the order of the list, in one place (`edge_agent.runtime`, or the simulator's cluster). A
journal effect is on disk before the effect after it is begun: so a receipt never promises what a crash can lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    Contribution,
    DeviceStatus,
    DeviceToUser,
    PeerMessage,
    Presence,
    Prompt,
    Sampling,
)
from edge_agent.core.states import ItemOutcome


@final
@dataclass(frozen=True, slots=True)
class StartInference:
    """Hand an item to the engine. Comes again for the same item after a retryable failure."""

    item_id: str
    messages: tuple[ChatMessage, ...]
    references: tuple[str, ...]
    sampling: Sampling
    stream: bool
    """Whether text is wanted as it is generated (`TextGenerated`)."""


@final
@dataclass(frozen=True, slots=True)
class CancelInference:
    """Stop generating for an item. No event may follow for it: the engine takes the next one at once."""

    item_id: str


@final
@dataclass(frozen=True, slots=True)
class SendToDevice:
    """Publish to another device's inbox at that device's home broker."""

    device_id: str
    home_broker: str
    message: PeerMessage
    expires_in_s: float | None = None


@final
@dataclass(frozen=True, slots=True)
class SendToUser:
    """Publish to a user on the route that the prompt named."""

    reply: ReplyRoute
    message: DeviceToUser


@final
@dataclass(frozen=True, slots=True)
class PublishPresence:
    """Publish this device's birth message or farewell (retained)."""

    presence: Presence


@final
@dataclass(frozen=True, slots=True)
class PublishStatus:
    """Publish the live figures (retained), and record the same numbers as the `agent_queue` measurement."""

    status: DeviceStatus


@final
@dataclass(frozen=True, slots=True)
class JournalPrompt:
    """An accepted prompt, before its receipt is sent."""

    prompt: Prompt
    reply: ReplyRoute
    deadline_in_s: float | None


@final
@dataclass(frozen=True, slots=True)
class JournalLayer:
    """The responses of a joined layer, as (text, contribution)."""

    prompt_id: str
    reply: ReplyRoute
    layer: int
    responses: tuple[tuple[str, Contribution], ...]


@final
@dataclass(frozen=True, slots=True)
class JournalAnswer:
    """The end of a prompt, before it is sent. The interpreter marks it delivered once the broker has taken it."""

    answer: Answer
    reply: ReplyRoute


@final
@dataclass(frozen=True, slots=True)
class RecordRequest:
    """The `agent_request` measurement: one item of the inference queue has ended."""

    role: str
    """`proposer` or `aggregator`, and `peer` for a proposal made for another device."""
    outcome: ItemOutcome
    waiting_time_s: float
    service_time_s: float
    sojourn_time_s: float
    time_to_first_token_s: float
    input_tokens: int
    output_tokens: int


@final
@dataclass(frozen=True, slots=True)
class RecordSession:
    """The `agent_session` measurement: one prompt has ended."""

    outcome: str
    layer_count: int
    fanout: int
    end_to_end_latency_s: float
    responses_expected: int
    responses_joined: int
    substitutes: int


Effect: TypeAlias = (
    StartInference
    | CancelInference
    | SendToDevice
    | SendToUser
    | PublishPresence
    | PublishStatus
    | JournalPrompt
    | JournalLayer
    | JournalAnswer
    | RecordRequest
    | RecordSession
)
