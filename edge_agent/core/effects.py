"""What this device wants done: everything `Agent.handle` returns.

Effects are begun in the order of the list, in one place (`edge_agent.runtime`, or the simulator's cluster). Nobody
waits there for a disk: what must not be said before it is on disk, a receipt or an answer, the core says when
`RecordWritten` tells it so. So one write serves several prompts, and peers are asked meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from edge_agent.core.events import JoinedLayer, ReplyRoute
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    DeviceStatus,
    DeviceToUser,
    PeerMessage,
    Presence,
    Prompt,
    Sampling,
)
from edge_agent.core.states import ItemOutcome, ItemRole


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
    """Publish to a user on the route that the prompt named. For an `Answer` one `AnswerSent` follows."""

    reply: ReplyRoute
    message: DeviceToUser


@final
@dataclass(frozen=True, slots=True)
class TwinFound:
    """Another runs under this device's id. With an `aside_s` this one is to leave its broker for that long."""

    detail: str
    aside_s: float | None


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
    """Keep an accepted prompt with its plan. `RecordWritten` follows; the receipt waits for it, the work does not."""

    prompt: Prompt
    reply: ReplyRoute
    deadline_in_s: float | None
    layer_count: int
    fanout: int


@final
@dataclass(frozen=True, slots=True)
class JournalLayer:
    """Keep a joined layer. Nothing waits for it: if it is lost, the layer is run again after a restart."""

    prompt_id: str
    reply: ReplyRoute
    layer: int
    joined: JoinedLayer


@final
@dataclass(frozen=True, slots=True)
class JournalAnswer:
    """Keep the end of a prompt. `RecordWritten` follows, and only then is it sent: nobody is told two ends."""

    answer: Answer
    reply: ReplyRoute


@final
@dataclass(frozen=True, slots=True)
class JournalDelivered:
    """Note that the broker has taken an answer. Nothing waits for it: if it is lost, the answer is sent once more."""

    prompt_id: str
    reply: ReplyRoute


@final
@dataclass(frozen=True, slots=True)
class RecordRequest:
    """The `agent_request` measurement: one item of the inference queue has ended."""

    role: ItemRole
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
    | TwinFound
    | PublishStatus
    | JournalPrompt
    | JournalLayer
    | JournalAnswer
    | JournalDelivered
    | RecordRequest
    | RecordSession
)
