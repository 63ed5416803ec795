"""One user prompt at its origin device: its layers, who was asked, what came back, its deadline.

Pure data and what can be read off it. `layers` runs a layer, `sessions` moves a session from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from edge_agent.core.effects import SendToUser
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import JoinedLayer, ReplyRoute
from edge_agent.core.measured import Promise
from edge_agent.core.messages import (
    DEADLINE_MAX_S,
    Contribution,
    Decision,
    DeviceToUser,
    Missing,
    Prompt,
    Provenance,
    Substitute,
)
from edge_agent.core.states import SESSION_ENDS, SESSION_TRANSITIONS, RequestState, SessionState, advance

_SOON_S = 0.001  # what is due already is said to be due in so many seconds: 0 is no time


def time_left(deadline: float, now: float) -> float | None:
    """Returns for how many seconds something is wanted yet, as messages and the journal say it; `None` is for ever.

    (`now` + a day) - `now` may be a little more than a day, which nobody takes.
    """
    return None if deadline == float("inf") else min(max(deadline - now, _SOON_S), DEADLINE_MAX_S)


Response: TypeAlias = tuple[str, Contribution]
"""What a proposer said, and what it cost."""


class RequestOwner(Protocol):
    """Who asked peers, and is told how each request ends."""

    def request_answered(self, request: PeerRequest, response: Response, now: float) -> None:
        """The peer's response is there."""
        ...

    def request_gone(self, request: PeerRequest, reason: str, now: float) -> None:
        """There will be no response."""
        ...


@dataclass(slots=True, eq=False)
class PeerRequest:
    """One proposal asked of one peer."""

    request_id: str
    session: Session
    layer: LayerRound
    device_id: str
    home_broker: str
    promise: Promise | None
    """What the peer's figures said when it was asked; `None` once nothing can be learnt from how long it takes."""
    asked_at: float
    state: RequestState = RequestState.ASKED
    sends: int = 0
    """How often it was sent since the peer was last heard on it."""
    sent_at: float = 0.0
    """When the first of these was."""


@dataclass(slots=True, eq=False)
class LayerRound:
    """A layer under way, or an aggregation asked of a peer, which is a layer of one that only a peer can do."""

    number: int
    deadline: float
    substitutes_left: int
    owner: RequestOwner
    proposes: bool = True
    """Whether it is a layer: proposers draw their tokens otherwise than an aggregator does."""
    references: tuple[str, ...] = ()
    """What peers are given: the session's references, cut to what fits into a message of `fitted_to` bytes."""
    fitted_to: int | None = None
    reference_bytes_cut: int = 0
    own_item: str | None = None
    requests: dict[str, PeerRequest] = field(default_factory=dict)
    """Those whose response may still come."""
    asked: list[str] = field(default_factory=list)
    """Every device asked in this layer, this one included: none is asked twice."""
    joined: list[Response] = field(default_factory=list)

    @property
    def outstanding(self) -> int:
        """Responses that may still come."""
        return len(self.requests) + (self.own_item is not None)


@dataclass(slots=True, eq=False)
class Session:
    """A prompt from its acceptance to its end. Times are the agent's clock, in seconds."""

    key: str
    prompt: Prompt
    reply: ReplyRoute
    layer_count: int
    fanout: int
    accepted_at: float
    deadline: float
    state: SessionState = SessionState.ACCEPTED
    round: LayerRound | None = None
    item_id: str | None = None
    """The aggregation's or the judge's item, while it is in the queue."""
    references: tuple[str, ...] = ()
    """What the next stage is given: the chosen responses of the last layer that brought any."""
    layers: list[tuple[Contribution, ...]] = field(default_factory=list)
    responses: tuple[Response, ...] = ()
    """Those of the last joined layer."""
    best: tuple[Response, ...] = ()
    """Those of the last layer that brought any: one of them is the answer if no aggregation is to be had."""
    reference_bytes_cut: int = 0
    aggregation: Contribution | None = None
    substitutes: list[Substitute] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    judged: int = 0
    """The layer judged last, whatever came of it."""
    stops: bool = False
    """A policy found the layers left not worth their cost."""
    failure: str = ""
    """Why this device could not aggregate, while another one is asked to."""
    receipted: bool = True
    """Whether its user has the receipt: until then, nothing else is told."""
    durable: bool = False
    """Whether the journal has it."""
    held: list[DeviceToUser] = field(default_factory=list)
    """What waits for the receipt: the progress of a layer or two and an answer's tokens, so never more than that."""
    messages_sent: int = 0
    messages_received: int = 0
    chunks_sent: int = 0
    chunks_attempt: int = 0
    restarts: int = 0

    def move(self, state: SessionState) -> None:
        """Goes to `state`, if the transition table allows it."""
        self.state = advance(SESSION_TRANSITIONS, self.state, state)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in SESSION_ENDS

    @property
    def responses_expected(self) -> int:
        """Responses that the paper's algorithm has by the layer reached."""
        begun = len(self.layers) + (self.state is SessionState.PROPOSING)
        return begun * (self.fanout + 1)

    def to_user(self, message: DeviceToUser) -> tuple[SendToUser, ...]:
        """Returns what tells the user `message`: nothing yet, before the receipt."""
        if self.receipted:
            return (SendToUser(self.reply, message),)
        self.held.append(message)
        return ()

    def released(self) -> tuple[SendToUser, ...]:
        """The receipt is sent: returns what waited for it."""
        self.receipted = True
        held, self.held = self.held, []
        return tuple(SendToUser(self.reply, message) for message in held)

    def join(self, responses: tuple[Response, ...]) -> None:
        """Takes a joined layer's responses; what they say is kept of the last layer that brought any."""
        self.layers.append(tuple(contribution for _, contribution in responses))
        self.responses = responses
        self.best = responses or self.best

    def joined_layer(self) -> JoinedLayer:
        """Returns the last joined layer with what was missing and replaced in it."""
        number = len(self.layers)
        return JoinedLayer(
            self.responses,
            tuple(missing for missing in self.missing if missing.layer == number),
            tuple(substitute for substitute in self.substitutes if substitute.layer == number),
        )

    @property
    def proposals(self) -> tuple[Response, ...]:
        """The newest proposals there are, those of a layer under way first."""
        if self.state is SessionState.PROPOSING and self.round is not None and self.round.joined:
            return tuple(self.round.joined)
        return self.best

    def provenance(self, device_id: str, policies: tuple[tuple[str, str], ...], answer_from: str = "") -> Provenance:
        """Returns what made the answer so far; `answer_from` is whose proposal it is, if it is one."""
        rounds = list(self.layers)
        if self.state is SessionState.PROPOSING and self.round is not None:
            rounds.append(tuple(contribution for _, contribution in self.round.joined))
        return Provenance(
            device_id=device_id,
            layer_count=self.layer_count,
            fanout=self.fanout,
            layers=tuple(rounds),
            aggregation=self.aggregation,
            substitutes=tuple(self.substitutes),
            missing=tuple(self.missing),
            policies=policies,
            messages_sent=self.messages_sent,
            messages_received=self.messages_received,
            restarts=self.restarts,
            decisions=tuple(self.decisions),
            answer_from=answer_from,
            reference_bytes_cut=self.reference_bytes_cut,
        )

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if the session contradicts itself."""
        if self.is_over:
            raise InvariantError(f"session {self.key} is over but still kept")
        waits_for = {
            SessionState.PROPOSING: self.round is not None and self.item_id is None,
            SessionState.JUDGING: self.round is None and self.item_id is not None,
            # by its own engine, or by a peer
            SessionState.AGGREGATING: (self.round is not None) != (self.item_id is not None),
        }.get(self.state, self.round is None and self.item_id is None)
        if not waits_for:
            raise InvariantError(f"session {self.key} is {self.state} with round {self.round}, item {self.item_id}")
        if self.receipted and self.held:
            raise InvariantError(f"session {self.key} keeps from its user what it may tell")
        if self.round is not None and not self.round.outstanding:
            raise InvariantError(f"session {self.key} waits for nothing")
        if self.round is not None and len(self.round.asked) != len(set(self.round.asked)):
            raise InvariantError(f"session {self.key} asked a device twice in one layer")
