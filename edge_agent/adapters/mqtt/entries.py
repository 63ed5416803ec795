"""What devices say of each other's entries, looked at before the core sees it: an entry is its owner's word.

In a mesh with certificates an entry counts only with its owner's signature, whoever carries it. The certificate behind
it comes with the owner's presence, or is asked of who carried the entry; what came with it waits for the answer. In a
mesh without certificates nothing is signed and nobody's word is better than another's: there proofs are taken off, so
that none is taken for one.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, final

from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.core.events import BadInputReceived, Event, PeerMessageReceived
from edge_agent.core.messages import (
    BetweenTransports,
    Message,
    PeerEntry,
    Presence,
    RefusalReason,
    SignersTold,
    SignersWanted,
    ViewExchange,
)
from edge_agent.ports import Notary, ProofCheck
from edge_agent.wire.checks import FINGERPRINT_LENGTH, FINGERPRINTS_MAX, speaker_of
from edge_agent.wire.statements import statement

log = logging.getLogger(__name__)
V = TypeVar("V")

SENDERS_MAX = 256  # devices whose messages are counted, and of whose exchanges one each may wait
ENTRIES_PER_S = 32.0  # looked at for one sender: seven times what it gossips and is answered; 6 ms of a Pi's second
ENTRIES_BURST = 128.0  # a newcomer is greeted by all of a small mesh at once
WAITING_S = 10.0  # how long an exchange waits for certificates: a few round trips over a bad radio

SendMessage = Callable[[str, str, BetweenTransports], None]
"""Sends to a device at its home broker."""


@final
@dataclass(slots=True)
class _Budget:
    left: float
    at: float


@final
@dataclass(slots=True)
class _Waiting:
    """What came from a sender with proofs by certificates that were not known, and since when."""

    exchange: ViewExchange
    wanted: tuple[str, ...]
    since: float


class PlainEntries:
    """For meshes without certificates."""

    def outgoing(self, message: Message) -> Message:
        """Returns what is to be sent: the message as it is."""
        return message

    def incoming(self, event: Event, now: float) -> list[Event]:
        """Returns what the core is to hear of an event; who speaks in it is known by its topic already."""
        if not isinstance(event, PeerMessageReceived):
            return [event]
        message = event.message
        if isinstance(message, ViewExchange):
            plain = tuple(replace(one, proof="") if one.proof else one for one in message.entries)
            return [PeerMessageReceived(replace(message, entries=plain))]
        if isinstance(message, Presence):
            return [PeerMessageReceived(replace(message, entry=replace(message.entry, proof=""), certificate=""))]
        if isinstance(message, SignersWanted | SignersTold):
            return [_bad("certificates: this mesh has none")]
        return [event]


class SignedEntries:
    """For meshes with certificates.

    Args:
        send: has certificates asked for and told.
    """

    def __init__(self, settings: MqttSettings, notary: Notary, counters: MqttCounters, send: SendMessage) -> None:
        self._mesh = settings.mesh
        self._device_id = settings.device_id
        self._home_broker = ""  # as this device last named it
        self._notary = notary
        self._entries_max = settings.entries_max
        self._counters = counters
        self._send = send
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    def outgoing(self, message: Message) -> Message:
        """Returns what is to be sent: with this device's proof of its own entry, and its certificate in presence."""
        if isinstance(message, ViewExchange) and message.entries:
            own, *others = message.entries
            self._home_broker = own.home_broker
            return replace(message, entries=(self._signed(own), *others))
        if isinstance(message, Presence):
            return replace(message, entry=self._signed(message.entry), certificate=self._notary.certificate())
        return message

    def incoming(self, event: Event, now: float) -> list[Event]:
        """Returns what the core is to hear of an event; who speaks in it is known by its topic already."""
        if not isinstance(event, PeerMessageReceived):
            return [event]
        message, sender = event.message, speaker_of(event.message) or ""
        if isinstance(message, ViewExchange):
            return self._exchange(sender, message, now)
        if isinstance(message, Presence):
            return self._presence(sender, message, now)
        if isinstance(message, SignersWanted):
            return self._wanted(sender, message, now)
        if isinstance(message, SignersTold):
            return self._told(sender, message, now)
        return [event]

    # --- entries ----------------------------------------------------------------------------------------------------

    def _signed(self, entry: PeerEntry) -> PeerEntry:
        return replace(entry, proof=self._notary.sign(statement(self._mesh, entry)))

    def _judge(self, entry: PeerEntry) -> ProofCheck:
        if not entry.proof:
            return ProofCheck.FALSE
        return self._notary.judge(entry.device_id, statement(self._mesh, entry), entry.proof)

    def _presence(self, sender: str, presence: Presence, now: float) -> list[Event]:
        if not self._has_budget(sender, 1, now):
            return []
        if presence.certificate:
            self._notary.learn(presence.certificate)
        word = self._judge(presence.entry)
        if word is ProofCheck.OWN:
            return [PeerMessageReceived(presence)]
        self._counters.entries_refused += 1
        return [_bad(f"entry: {_REASONS[word].format(presence.entry.device_id)}")]

    def _exchange(self, sender: str, exchange: ViewExchange, now: float) -> list[Event]:
        """The sender's own entry stands first: without it nothing counts. What it carried of others counts entry by
        entry, up to the first that is forged: who is honest has looked at each before carrying it on."""
        entries = exchange.entries[: self._entries_max]
        if not self._has_budget(sender, len(entries), now):
            return []
        kept: list[PeerEntry] = []
        unknown: list[PeerEntry] = []
        bad: list[Event] = []
        for place, entry in enumerate(entries):
            word = self._judge(entry)
            if word is ProofCheck.OWN:
                kept.append(entry)
            elif word is ProofCheck.UNKNOWN:
                unknown.append(entry)
            else:
                self._counters.entries_refused += 1
                if place == 0 or word is ProofCheck.FALSE:
                    bad.append(_bad(f"entry: {_REASONS[word].format(entry.device_id)}"))
                    break
        if unknown and not bad:
            self._ask(sender, exchange, entries[0], unknown, now)
        if kept[:1] != list(entries[:1]):
            return bad
        return [PeerMessageReceived(replace(exchange, entries=tuple(kept))), *bad]

    # --- certificates -----------------------------------------------------------------------------------------------

    def _ask(self, sender: str, exchange: ViewExchange, first: PeerEntry, unknown: list[PeerEntry], now: float) -> None:
        """Asks who carried the entries for the certificates behind them, and keeps these entries until then."""
        wanted = tuple(dict.fromkeys(entry.proof[:FINGERPRINT_LENGTH] for entry in unknown))[:FINGERPRINTS_MAX]
        if unknown[0] is first:
            waiting = replace(exchange, entries=exchange.entries[: self._entries_max])
        else:  # the rest goes on, and a reply is made to that
            waiting = replace(exchange, entries=(first, *unknown), reply_wanted=False)
        _keep(self._waiting, sender, _Waiting(waiting, wanted, now))
        self._send(sender, first.home_broker, SignersWanted(self._device_id, self._home_broker, wanted))

    def _wanted(self, sender: str, message: SignersWanted, now: float) -> list[Event]:
        if self._has_budget(sender, len(message.fingerprints), now):
            found = [text for text in map(self._notary.find, dict.fromkeys(message.fingerprints)) if text is not None]
            if found:
                self._send(sender, message.home_broker, SignersTold(self._device_id, tuple(found)))
        return []

    def _told(self, sender: str, message: SignersTold, now: float) -> list[Event]:
        """No more is taken than was asked for: who may tell whatever it likes could push others out."""
        waiting = self._waiting.get(sender)
        if waiting is None:  # of two questions about the same the first answer has served
            return []
        if len(message.certificates) > len(waiting.wanted):
            return [_bad("certificates: more than were asked for")]
        del self._waiting[sender]
        if now - waiting.since > WAITING_S or not self._has_budget(sender, len(message.certificates), now):
            return []
        learnt = {self._notary.learn(certificate) for certificate in message.certificates}
        entries = [one for one in waiting.exchange.entries if self._is_known(one, learnt)]
        if not entries or entries[0] != waiting.exchange.entries[0]:
            return []
        return self._exchange(sender, replace(waiting.exchange, entries=tuple(entries)), now)

    def _is_known(self, entry: PeerEntry, learnt: set[str]) -> bool:
        fingerprint = entry.proof[:FINGERPRINT_LENGTH]
        return fingerprint in learnt or self._notary.find(fingerprint) is not None

    def _has_budget(self, sender: str, entries: int, now: float) -> bool:
        """Whether as many entries of one sender are looked at now; signatures cost time, and who floods pays itself."""
        budget = self._budgets.get(sender)
        if budget is None:
            budget = _Budget(ENTRIES_BURST, now)
        budget.left = min(ENTRIES_BURST, budget.left + (now - budget.at) * ENTRIES_PER_S)
        budget.at = now
        _keep(self._budgets, sender, budget)
        if budget.left < entries:
            self._counters.entries_unread += entries
            return False
        budget.left -= entries
        return True


_REASONS = {
    ProofCheck.FALSE: "not written by {} itself: the signature of that device is missing or wrong",
    ProofCheck.VOID: "the certificate that {} signs with is no longer valid",
    ProofCheck.UNKNOWN: "the certificate that {} signs with is not known",
}


def _bad(detail: str) -> BadInputReceived:
    return BadInputReceived(RefusalReason.INVALID, detail)


def _keep(kept: OrderedDict[str, V], key: str, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > SENDERS_MAX:
        kept.popitem(last=False)
