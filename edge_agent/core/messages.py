"""What devices and users say to each other: the vocabulary of the protocol.

Plain frozen dataclasses without behaviour. `edge_agent.wire.codec` turns them into bytes and back; nothing else
knows their encoding. Durations are seconds. Times never travel: device clocks differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, final

from edge_agent.core.chat import (
    DEADLINE_MAX_S,
    FANOUT_MAX,
    LAYERS_MAX,
    OUTPUT_TOKENS_MAX,
    ChatMessage,
    PromptOptions,
    Role,
    Sampling,
)
from edge_agent.core.device_status import DeviceStatus
from edge_agent.core.health import Part, Problem
from edge_agent.core.own_answers import (
    ANSWERS_ON_A_PAGE,
    ANSWERS_ON_A_PAGE_MAX,
    BEGINNING_LENGTH_MAX,
    AnswersQuery,
    AnswerSummary,
    Standing,
)
from edge_agent.core.provenance import Contribution, Decision, FinishReason, Missing, Provenance, Substitute
from edge_agent.core.states import ItemOutcome, Outcome

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
    """The prompt is accepted and will end exactly once. Also the reply to a repeated prompt still under way."""

    prompt_id: str
    device_id: str
    expected_wait_s: float | None
    """Expected time until the first of its inferences starts here; `None` before the first measured service time."""
    durable: bool = True
    """Whether it is on disk. If not (a full or failing disk), a restart of the device loses it."""


class RefusalReason(StrEnum):
    """Why a prompt was not accepted."""

    OVERLOADED = "overloaded"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    UNSUPPORTED_VERSION = "unsupported_version"
    STOPPING = "stopping"
    UNABLE = "unable"


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
class Answer:
    """The end of a prompt, sent exactly once per prompt id (again only when the prompt is repeated)."""

    prompt_id: str
    device_id: str
    outcome: Outcome
    text: str
    detail: str
    end_to_end_latency_s: float
    provenance: Provenance
    partial: bool = False
    """Whether this is the best proposal instead of an aggregation, which `detail` says why there is none."""


@final
@dataclass(frozen=True, slots=True)
class AnswersPage:
    """What a query gets: the line of one prompt with its answer, or the lines of a list, the newest first."""

    query_id: str
    device_id: str
    answers: tuple[AnswerSummary, ...]
    answer: Answer | None = None
    """The whole of the one that was asked for, if it has ended."""
    next: str = ""
    """What the next query says as `after`; "" if that was all."""
    whole_s: float = 0.0
    """All that ended here in the last so many seconds is known; what is older may be gone."""


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
    yields: bool = False
    """Whether it is for a user who has more than a share at the origin already: others pass it in line, its origin's
    own other requests too."""


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
    OVER_RATE = "over_rate"
    DEADLINE = "deadline"
    STOPPING = "stopping"
    INVALID = "invalid"
    UNABLE = "unable"


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
    """What a device says of itself, in its own gossip and presence and carried on by others.

    The incarnation and then the heartbeat say which is newer (`core.incarnations`).
    """

    device_id: str
    home_broker: str
    model: str
    model_family: str
    incarnation: int
    heartbeat: int
    requests_waiting: int
    """Items waiting there for each slot of its engine, rounded up; in a receipt the same."""
    service_time_s_mean: float | None
    able: bool = True
    """Whether it can infer now; one that cannot is not asked."""
    parameter_count: int | None = None
    """How many parameters its model has, if it knows."""
    proof: str = ""
    """The device's signature of all the rest, made and looked at outside the core; "" where a mesh has no certificates.
    It goes with the entry wherever that is carried."""

    @property
    def age(self) -> tuple[int, int]:
        """(incarnation, heartbeat), for `core.incarnations.is_newer`."""
        return self.incarnation, self.heartbeat


@final
@dataclass(frozen=True, slots=True)
class ViewExchange:
    """A random sample of the sender's view, the sender itself first. `reply_wanted` asks for one back."""

    entries: tuple[PeerEntry, ...]
    reply_wanted: bool


@final
@dataclass(frozen=True, slots=True)
class SignersWanted:
    """Asks a peer for the certificates behind entries that it carried. Between transports; no core sees it."""

    device_id: str
    home_broker: str
    fingerprints: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class SignersTold:
    """The certificates that were asked for, as far as they are known (DER in base64)."""

    device_id: str
    certificates: tuple[str, ...]


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
    certificate: str = ""
    """Whose key the entry is signed with (DER in base64); "" where a mesh has no certificates."""
    install: str = ""
    """Which installation says it, and `run` which start of it: two that differ are two devices of one name."""
    run: str = ""


UserMessage: TypeAlias = Prompt | PromptCancel | AnswersQuery
AboutPrompt: TypeAlias = PromptReceipt | PromptRefusal | LayerProgress | TokenChunk | Answer
DeviceToUser: TypeAlias = AboutPrompt | AnswersPage
PeerMessage: TypeAlias = ProposalRequest | RequestCancel | RequestReceipt | ProposalResponse | ViewExchange
BetweenTransports: TypeAlias = SignersWanted | SignersTold
Broadcast: TypeAlias = Presence | DeviceStatus
Message: TypeAlias = UserMessage | DeviceToUser | PeerMessage | BetweenTransports | Broadcast

__all__ = [
    "ANSWERS_ON_A_PAGE",
    "ANSWERS_ON_A_PAGE_MAX",
    "BEGINNING_LENGTH_MAX",
    "DEADLINE_MAX_S",
    "FANOUT_MAX",
    "LAYERS_MAX",
    "OUTPUT_TOKENS_MAX",
    "AboutPrompt",
    "Answer",
    "AnswerSummary",
    "AnswersPage",
    "AnswersQuery",
    "BetweenTransports",
    "Broadcast",
    "BusyReason",
    "ChatMessage",
    "Contribution",
    "Decision",
    "DeviceStatus",
    "DeviceToUser",
    "FinishReason",
    "LayerProgress",
    "Message",
    "Missing",
    "Part",
    "PeerEntry",
    "PeerMessage",
    "Presence",
    "PresenceState",
    "Problem",
    "Prompt",
    "PromptCancel",
    "PromptOptions",
    "PromptReceipt",
    "PromptRefusal",
    "ProposalRequest",
    "ProposalResponse",
    "Provenance",
    "RefusalReason",
    "RequestCancel",
    "RequestReceipt",
    "Role",
    "Sampling",
    "SignersTold",
    "SignersWanted",
    "Standing",
    "Substitute",
    "TokenChunk",
    "UserMessage",
    "ViewExchange",
]
