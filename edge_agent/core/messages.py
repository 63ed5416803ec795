"""What devices and users say to each other: the vocabulary of the protocol.

Plain frozen dataclasses without behaviour. `edge_agent.wire.codec` turns them into bytes and back; nothing else
knows their encoding. Durations are seconds. Times never travel: device clocks differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, final

from edge_agent.core.states import ItemOutcome, Outcome

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


# --- user to device ---------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat to be answered. `prompt_id` is the user's own: the same id again means the same prompt."""

    prompt_id: str
    messages: tuple[ChatMessage, ...]
    options: PromptOptions = PromptOptions()


@final
@dataclass(frozen=True, slots=True)
class PromptCancel:
    """The user no longer wants this answer."""

    prompt_id: str


# --- device to user ---------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class PromptReceipt:
    """The prompt is journalled and will end exactly once. Also the reply to a repeated prompt still under way."""

    prompt_id: str
    device_id: str
    expected_wait_s: float | None
    """Expected time until the first of its inferences starts here; `None` before the first measured service time."""


class RefusalReason(StrEnum):
    """Why a prompt was not accepted."""

    OVERLOADED = "overloaded"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    UNSUPPORTED_VERSION = "unsupported_version"
    STOPPING = "stopping"


@final
@dataclass(frozen=True, slots=True)
class PromptRefusal:
    """The prompt was not accepted, in words. `retry_after_s` only where trying again can help."""

    prompt_id: str
    device_id: str
    reason: RefusalReason
    detail: str
    retry_after_s: float | None = None


@final
@dataclass(frozen=True, slots=True)
class TokenChunk:
    """Some text of the answer as it is generated. Chunks count up from 0; a restart of the count means start over."""

    prompt_id: str
    index: int
    text: str


@final
@dataclass(frozen=True, slots=True)
class LayerProgress:
    """A layer of the session has begun, or has joined: what a user may look at while waiting."""

    prompt_id: str
    layer: int
    layer_count: int
    asked: tuple[str, ...]
    joined: tuple[str, ...]


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


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a prompt, sent exactly once per prompt id (again only when the prompt is repeated)."""

    prompt_id: str
    device_id: str
    outcome: Outcome
    text: str
    detail: str
    end_to_end_latency_s: float
    provenance: Provenance


# --- device to device -------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """Asks a peer to infer. The id is unguessable, so that only who was asked can respond."""

    request_id: str
    origin: str
    origin_home: str
    layer: int
    messages: tuple[ChatMessage, ...]
    """The prompt alone in layer 1; prompt with references of the layer before later on."""
    references: tuple[str, ...]
    sampling: Sampling
    expires_in_s: float | None


@final
@dataclass(frozen=True, slots=True)
class RequestCancel:
    """The origin no longer wants this response."""

    request_id: str
    origin: str


class BusyReason(StrEnum):
    """Why a peer did not queue a proposal request."""

    QUEUE_FULL = "queue_full"
    OVER_SHARE = "over_share"
    DEADLINE = "deadline"
    STOPPING = "stopping"
    INVALID = "invalid"


@final
@dataclass(frozen=True, slots=True)
class RequestReceipt:
    """A peer's immediate word on a proposal request: queued (`busy` is `None`) or not, and what to expect."""

    request_id: str
    device_id: str
    busy: BusyReason | None
    requests_waiting: int
    expected_wait_s: float | None


@final
@dataclass(frozen=True, slots=True)
class ProposalResponse:
    """What a peer's inference came to. `text` is empty unless the outcome is `completed`."""

    request_id: str
    outcome: ItemOutcome
    text: str
    detail: str
    contribution: Contribution


@final
@dataclass(frozen=True, slots=True)
class PeerEntry:
    """What is told of a device in gossip. Newer is the higher (incarnation, heartbeat)."""

    device_id: str
    home_broker: str
    model: str
    model_family: str
    incarnation: int
    heartbeat: int
    requests_waiting: int
    service_time_s_mean: float | None


@final
@dataclass(frozen=True, slots=True)
class ViewExchange:
    """A random sample of the sender's view, the sender itself first. `reply_wanted` asks for one back."""

    entries: tuple[PeerEntry, ...]
    reply_wanted: bool


class PresenceState(StrEnum):
    """Three-state birth and last will."""

    ONLINE = "online"
    STOPPED = "stopped"
    OFFLINE = "offline"


@final
@dataclass(frozen=True, slots=True)
class Presence:
    """A device's birth message (`online`), its farewell (`stopped`), or the broker's word (`offline`, last will)."""

    entry: PeerEntry
    state: PresenceState
    queue_capacity: int
    version: str


@final
@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The live queue and load figures of a device, the same numbers that telemetry records for the interval."""

    device_id: str
    model: str
    synthetic: bool
    interval_s: float
    requests_waiting: int
    requests_running: int
    requests_waiting_mean: float
    queue_capacity: int
    arrival_rate_hz: float
    service_time_s_mean: float
    utilisation: float
    stability_margin: float
    accepted: int
    completed: int
    rejected: int
    expired: int
    cancelled: int
    failed: int
    sessions_active: int
    peers_alive: int


UserMessage: TypeAlias = Prompt | PromptCancel
DeviceToUser: TypeAlias = PromptReceipt | PromptRefusal | LayerProgress | TokenChunk | Answer
PeerMessage: TypeAlias = ProposalRequest | RequestCancel | RequestReceipt | ProposalResponse | ViewExchange
Broadcast: TypeAlias = Presence | DeviceStatus
Message: TypeAlias = UserMessage | DeviceToUser | PeerMessage | Broadcast
