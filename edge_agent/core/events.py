"""What happened to this device: everything `Agent.handle` accepts.

Events carry facts and no decisions. The runtime makes them from MQTT, the engine and the journal; the simulator
makes the same ones from its virtual network.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, final

from edge_agent.core.health import Part
from edge_agent.core.messages import (
    Answer,
    AnswersQuery,
    Contribution,
    Message,
    Missing,
    Presence,
    Prompt,
    RefusalReason,
    Substitute,
)
from edge_agent.core.provenance import FinishReason
from edge_agent.core.shares import user_holder


@final
@dataclass(frozen=True, slots=True)
class ReplyRoute:
    """Whose a prompt is, and where that user is answered.

    principal: who sent it, by the topic it came on, which no one else can write to where the broker knows who is who.
    client: which of this user's clients wants the words.
    correlation: MQTT 5 correlation data as hex text, "" if there was none.
    body_id: the `id` of a 3.1.1 client's JSON body, repeated in each reply's body; "" if there was none.
    """

    principal: str
    client: str = "0"
    correlation: str = ""
    body_id: str = ""

    @property
    def inbox(self) -> str:
        """The principal and the client as one text. Neither holds a slash."""
        return f"{self.principal}/{self.client}"

    @property
    def holder(self) -> str:
        """Under which name this user's prompts are counted for its share."""
        return user_holder(self.principal, self.client)


@final
@dataclass(frozen=True, slots=True)
class Started:
    """The first event of an agent. `incarnation` is higher than at every earlier start of this device."""

    incarnation: int


@final
@dataclass(frozen=True, slots=True)
class PromptReceived:
    """A user's prompt arrived."""

    prompt: Prompt
    reply: ReplyRoute
    size_bytes: int


@final
@dataclass(frozen=True, slots=True)
class PromptCancelReceived:
    """A user no longer wants an answer."""

    prompt_id: str
    reply: ReplyRoute


@final
@dataclass(frozen=True, slots=True)
class AnswersQueryReceived:
    """A user asks how earlier prompts ended."""

    query: AnswersQuery
    reply: ReplyRoute


@final
@dataclass(frozen=True, slots=True)
class PeerMessageReceived:
    """A peer's message arrived (also presence of other devices)."""

    message: Message


@final
@dataclass(frozen=True, slots=True)
class OwnPresenceReceived:
    """What stands on this device's own presence topic. `retained`: the broker had kept it."""

    presence: Presence
    retained: bool


@final
@dataclass(frozen=True, slots=True)
class PeerDiscovered:
    """A device was seen in the local network, by a means that proves nothing: a hint, as a seed is."""

    device_id: str
    home_broker: str


@final
@dataclass(frozen=True, slots=True)
class BadInputReceived:
    """Something arrived that is no message. Where `reply` is known, its sender is told."""

    reason: RefusalReason
    detail: str
    message_id: str = ""
    reply: ReplyRoute | None = None


@final
@dataclass(frozen=True, slots=True)
class OverRate:
    """Somebody speaks too often, and what it said was not read. Comes a few times a second, whatever it sends.

    message_id: what could be seen of which. reply: of a user's. device_id: of another device's request.
    """

    message_id: str
    reply: ReplyRoute | None = None
    device_id: str = ""


@final
@dataclass(frozen=True, slots=True)
class TextGenerated:
    """The engine produced some text of a streamed item."""

    item_id: str
    text: str


@final
@dataclass(frozen=True, slots=True)
class InferenceCompleted:
    """The engine finished an item."""

    item_id: str
    text: str
    input_tokens: int
    output_tokens: int
    input_tokens_cut: int
    time_to_first_token_s: float
    finish_reason: FinishReason = FinishReason.STOP


@final
@dataclass(frozen=True, slots=True)
class InferenceFailed:
    """The engine could not do an item. If `retryable`, it may succeed when tried again (a crashed child process)."""

    item_id: str
    detail: str
    retryable: bool


@final
@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A part of the device is not well, in one line that says the way out; or well again, with an empty `detail`."""

    part: Part
    detail: str


@final
@dataclass(frozen=True, slots=True)
class SendFailed:
    """A message to another device could not be sent, whatever the network does: too large for its broker, say.

    It is this device's own error: nobody is to be suspected for the silence that follows. `message_id`: the request's.
    """

    device_id: str
    message_id: str
    detail: str


@final
@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection to this device's home broker came or went. Without it silence means nothing about peers."""

    connected: bool
    message_bytes_max: int | None = None
    """What that broker takes in one message, topic and body; `None` if it names no bound."""


@final
class JournalRecord(StrEnum):
    """The records whose writing the core waits for."""

    PROMPT = "prompt"
    ANSWER = "answer"


@final
@dataclass(frozen=True, slots=True)
class RecordWritten:
    """The journal has a record on disk, or, with an `error`, could not write it. One comes for each, in their order."""

    record: JournalRecord
    prompt_id: str
    reply: ReplyRoute
    error: str = ""


@final
@dataclass(frozen=True, slots=True)
class AnswerSent:
    """What became of an answer that was to be sent: the broker has taken it, or it was dropped on the way there."""

    prompt_id: str
    reply: ReplyRoute
    delivered: bool


@final
@dataclass(frozen=True, slots=True)
class JoinedLayer:
    """A layer as it joined: its responses as (text, contribution), and what was missing or replaced in it."""

    responses: tuple[tuple[str, Contribution], ...]
    missing: tuple[Missing, ...] = ()
    substitutes: tuple[Substitute, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class RestoredSession:
    """An accepted prompt that had not ended when the device stopped, with its layers joined so far."""

    prompt: Prompt
    reply: ReplyRoute
    remaining_s: float | None
    """Seconds until its deadline; `None` if it has none; 0 or less if it passed meanwhile."""
    elapsed_s: float
    layers: tuple[JoinedLayer, ...]
    restarts: int
    layer_count: int | None = None
    """M and k as they were planned when it was accepted; `None` in journals that did not keep them."""
    fanout: int | None = None


@final
@dataclass(frozen=True, slots=True)
class RestoredAnswer:
    """A finished answer still in its retention time. Sent once there is a connection, if no broker had taken it."""

    answer: Answer
    reply: ReplyRoute
    delivered: bool
    age_s: float = 0.0
    """Seconds since the prompt ended, as well as the device's clock knows."""


@final
@dataclass(frozen=True, slots=True)
class SessionsRestored:
    """What the journal kept over a restart. Comes right after `Started`, or when a disk can be read that could not."""

    sessions: tuple[RestoredSession, ...]
    answers: tuple[RestoredAnswer, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """Time has passed `Agent.next_deadline()`. Early or repeated ones do nothing."""


@final
@dataclass(frozen=True, slots=True)
class StopRequested:
    """The device is to stop: nothing more is accepted. What is accepted stays in the journal for the next start."""


Event: TypeAlias = (
    Started
    | PromptReceived
    | PromptCancelReceived
    | AnswersQueryReceived
    | PeerMessageReceived
    | OwnPresenceReceived
    | PeerDiscovered
    | BadInputReceived
    | OverRate
    | TextGenerated
    | InferenceCompleted
    | InferenceFailed
    | HealthChanged
    | SendFailed
    | ConnectionChanged
    | RecordWritten
    | AnswerSent
    | SessionsRestored
    | DeadlineReached
    | StopRequested
)
