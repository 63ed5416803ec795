"""What is believed of a device is what it said itself, its newest word, and of its load no more than was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, PublishPresence, SendToDevice
from edge_agent.core.events import ConnectionChanged, Event, PeerMessageReceived
from edge_agent.core.incarnations import is_newer
from edge_agent.core.measured import USUAL_MAX
from edge_agent.core.messages import PeerEntry, Presence, ProposalRequest, ProposalResponse, RequestCancel, ViewExchange
from edge_agent.core.peers import Peer
from edge_agent.core.states import ItemOutcome
from edge_agent.lab.simulator.checkers.base import Checker

_RESPONSES_MIN = 6  # after so many the measure counts; the core doubts sooner
_NO_TIME_S = 1e-3  # who tells less lies: no simulated engine is so quick


@dataclass
class _Asked:
    """What one device asked of others, and how long it took."""

    open: dict[str, tuple[str, int, float]] = field(default_factory=dict)  # request -> peer, its incarnation, when
    took_s: dict[str, list[float]] = field(default_factory=dict)


class OwnWords(Checker):
    """Keeps what every device said, before any transport and any liar had it, and measures for itself."""

    name = "nobody has a word about another"

    def __init__(self) -> None:
        self._ages: dict[str, set[tuple[int, int]]] = {}
        self._faces: dict[str, set[tuple[str, str, str]]] = {}
        self._speeds: dict[str, set[float | None]] = {}
        self._liars: set[str] = set()
        self._known: dict[int, dict[str, tuple[int, int]]] = {}
        self._asked: dict[int, _Asked] = {}

    def lies(self, name: str) -> None:
        """A device says of its own load what is not so."""
        self._liars.add(name)

    def restarted(self, device: int) -> None:
        """A new process knows nobody and has asked nobody."""
        self._known.pop(device, None)
        self._asked.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Takes in what was said and asked, then looks at what is believed."""
        asked = self._asked.setdefault(device, _Asked())
        for effect in effects:
            if type(effect) is PublishPresence:
                self._said(effect.presence.entry)
            elif type(effect) is SendToDevice:
                self._sent(now, agent, asked, effect)
        if type(event) is ConnectionChanged:
            asked.open.clear()
        elif type(event) is PeerMessageReceived:
            message = event.message
            if type(message) is ViewExchange or type(message) is Presence:
                self._look(device, agent)
            elif type(message) is ProposalResponse:
                self._responded(now, device, agent, asked, message)

    def _said(self, entry: PeerEntry) -> None:
        self._ages.setdefault(entry.device_id, set()).add(entry.age)
        face = (entry.home_broker, entry.model, entry.model_family)
        self._faces.setdefault(entry.device_id, set()).add(face)
        self._speeds.setdefault(entry.device_id, set()).add(entry.service_time_s_mean)

    def _sent(self, now: float, agent: Agent, asked: _Asked, effect: SendToDevice) -> None:
        message = effect.message
        if type(message) is ViewExchange:
            self._said(message.entries[0])
        elif type(message) is ProposalRequest and message.request_id not in asked.open:
            row = agent.view.get(effect.device_id)
            asked.open[message.request_id] = (effect.device_id, row.word.incarnation if row else -1, now)
        elif type(message) is RequestCancel:
            asked.open.pop(message.request_id, None)

    def _look(self, device: int, agent: Agent) -> None:
        before, known = self._known.get(device, {}), {}
        for row in agent.view.rows():
            word, name = row.word, row.entry.device_id
            known[name] = word.age
            if (word.home_broker, word.model, word.model_family) not in self._faces.get(name, set()):
                raise self.broken(f"d{device} believes of {name} what {name} never said: {word}")
            if word.proof:  # without, anybody can say anything of another's age, and it can only outdo that
                if word.age not in self._ages.get(name, set()):
                    raise self.broken(f"d{device} believes of {name} an age that {name} never told: {word}")
                if name in before and word.age != before[name] and is_newer(before[name], word.age):
                    raise self.broken(f"d{device} goes back from {before[name]} of {name} to {word}")
            if row.own_load and row.told_s not in self._speeds.get(name, set()) and name not in self._liars:
                raise self.broken(f"d{device} takes {row.told_s} s for {name}'s own word, which never said it")
        self._known[device] = known

    def _responded(self, now: float, device: int, agent: Agent, asked: _Asked, message: ProposalResponse) -> None:
        peer, incarnation, since = asked.open.pop(message.request_id, ("", -1, 0.0))
        row = agent.view.get(peer)
        if row is None or row.word.incarnation != incarnation or message.outcome is not ItemOutcome.COMPLETED:
            return
        took = asked.took_s.setdefault(peer, [])
        took.append(now - since)
        if len(took) >= _RESPONSES_MIN and _tells_no_time(row):
            least = min(took) / USUAL_MAX / 2  # half: sums of what fades are not exact
            believed = row.entry.service_time_s_mean
            if believed is not None and believed < min(least, _NO_TIME_S):
                raise self.broken(
                    f"d{device} believes {peer} to take {believed} s, whose {len(took)} responses took {min(took):g} s"
                )


def _tells_no_time(row: Peer) -> bool:
    return row.told_s is not None and row.told_s < _NO_TIME_S
