"""One user prompt at its origin device: its layers, who was asked, what came back, its deadline.

Pure data and what can be read off it. `layers` runs a layer, `sessions` moves a session from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from edge_agent.core.errors import InvariantError
from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import Contribution, Decision, Missing, Prompt, Provenance, Substitute
from edge_agent.core.states import SESSION_ENDS, SESSION_TRANSITIONS, RequestState, SessionState, advance

Response: TypeAlias = tuple[str, Contribution]
"""What a proposer said, and what it cost."""


@dataclass(slots=True, eq=False)
class PeerRequest:
    """One proposal asked of one peer."""

    request_id: str
    session: Session
    layer: LayerRound
    device_id: str
    home_broker: str
    state: RequestState = RequestState.ASKED
    sends: int = 0
    """How often it was sent since the peer was last heard on it."""


@dataclass(slots=True, eq=False)
class LayerRound:
    """A layer under way."""

    number: int
    deadline: float
    substitutes_left: int
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
    layers: list[tuple[Response, ...]] = field(default_factory=list)
    aggregation: Contribution | None = None
    substitutes: list[Substitute] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    judged: int = 0
    """The layer judged last, whatever came of it."""
    stops: bool = False
    """A policy found the layers left not worth their cost."""
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
        begun = len(self.layers) + (self.round is not None)
        return begun * (self.fanout + 1)

    def provenance(self, device_id: str, policies: tuple[tuple[str, str], ...]) -> Provenance:
        """Returns what made the answer so far."""
        rounds = [tuple(contribution for _, contribution in layer) for layer in self.layers]
        if self.round is not None:
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
        )

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if the session contradicts itself."""
        if self.is_over:
            raise InvariantError(f"session {self.key} is over but still kept")
        if (self.state is SessionState.PROPOSING) != (self.round is not None):
            raise InvariantError(f"session {self.key} is {self.state} with round {self.round}")
        if (self.state in (SessionState.AGGREGATING, SessionState.JUDGING)) != (self.item_id is not None):
            raise InvariantError(f"session {self.key} is {self.state} with item {self.item_id}")
        if self.round is not None and not self.round.outstanding:
            raise InvariantError(f"session {self.key} waits for nothing")
        if self.round is not None and len(self.round.asked) != len(set(self.round.asked)):
            raise InvariantError(f"session {self.key} asked a device twice in one layer")
