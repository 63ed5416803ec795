"""What the parts of an agent share: who they are, how they are set, where effects go."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol

from edge_agent.core.effects import Effect
from edge_agent.core.health import Health
from edge_agent.core.messages import Answer
from edge_agent.core.policies import Policies
from edge_agent.core.settings import AgentSettings, DeviceIdentity
from edge_agent.core.sizes import fit_answer, fit_text
from edge_agent.core.timers import Timers


class RandomStream(Protocol):
    """A source of randomness; `random.Random` is one. The core never makes its own."""

    def random(self) -> float:
        """Returns a float in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Returns an integer of k random bits."""
        ...


@dataclass(frozen=True, slots=True)
class RandomStreams:
    """One named stream for each use, so that a change in one does not shift the draws of another."""

    ids: RandomStream
    """Request ids. Live agents must give a cryptographic source (`random.SystemRandom`): ids are capabilities."""
    peer_selection: RandomStream
    gossip: RandomStream


@dataclass(slots=True)
class Counters:
    """What went by that no answer shows. Totals since the start."""

    bad_input: int = 0
    prompts_refused: int = 0
    prompts_repeated: int = 0
    requests_repeated: int = 0
    requests_refused: int = 0
    over_rate: int = 0
    """Times that somebody was told to speak less often."""
    responses_unexpected: int = 0
    receipts_timed_out: int = 0
    peers_suspected: int = 0
    peers_lost: int = 0

    def as_dict(self) -> dict[str, int]:
        """Returns name and total of each."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(slots=True)
class Context:
    """Handed to every part of the agent. `out` collects the effects of the event being handled."""

    identity: DeviceIdentity
    settings: AgentSettings
    streams: RandomStreams
    policies: Policies
    slots: int = 1
    """Items that the engine works on at once."""
    timers: Timers = field(default_factory=Timers)
    counters: Counters = field(default_factory=Counters)
    out: list[Effect] = field(default_factory=list)
    health: Health = field(default_factory=Health)
    connected: bool = False
    broker_bytes_max: int | None = None
    """What the home broker takes in one message; `None` if it names no bound."""
    stopping: bool = False

    @property
    def message_bytes_max(self) -> int:
        """Bytes that a message may take: this device's own bound, or the broker's if that is lower."""
        own = self.settings.message_bytes_max
        return own if self.broker_bytes_max is None else min(own, self.broker_bytes_max)

    def fit_text(self, text: str) -> str:
        """Returns a response as far as `response_bytes_max` and a message allow."""
        return fit_text(text, self.settings.response_bytes_max, self.message_bytes_max)

    def fit_answer(self, answer: Answer) -> Answer:
        """Returns an answer as far as `response_bytes_max` and a message allow, the same one if it fits as it is."""
        return fit_answer(answer, self.settings.response_bytes_max, self.message_bytes_max)

    def new_id(self) -> str:
        """Returns an unguessable id of 128 bits as 32 hexadecimal digits."""
        return self.streams.ids.getrandbits(128).to_bytes(16, "big").hex()
