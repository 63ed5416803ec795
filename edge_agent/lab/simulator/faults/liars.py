"""A device that lies about itself and others, and the adapters of the others, which look at signatures.

It keeps to the protocol in all but what it says: that it has nothing to do and takes no time; that others live
elsewhere, are other models, have been started anew or know nothing new. In a mesh with certificates it cannot make
another's proof, and the adapters let nothing pass without one; in one without it lies about loads and incarnations.
"""

from __future__ import annotations

import random
from dataclasses import replace

from edge_agent.core.incarnations import INCARNATION_MAX
from edge_agent.core.messages import Message, PeerEntry, Presence, RequestReceipt, ViewExchange

LIE_S = 1e-6  # the service time that a liar tells of itself, and of whom it wants others to ask
_LIE_CHANCE = 0.3  # of each entry of others that it carries
_EVIL_HOME = "mqtts://mallory:8883"
_FURTHER = (1, 1000, INCARNATION_MAX // 2)  # incarnations; the last is as far as there is newer
_HEARTBEAT_MAX = 2**53  # what the codec lets through


class Liars:
    """All devices' transports, as far as they sign and look at entries.

    device: who lies, `None` for nobody. signed: whether the mesh has certificates.
    """

    def __init__(self, device: int | None, *, signed: bool, rng: random.Random) -> None:
        self.lying = device is not None
        """Whether the liar lies just now."""
        self._device = device
        self._signed = signed
        self._rng = rng
        self._words: dict[str, PeerEntry] = {}  # what each proof was made for
        self._youth: dict[str, PeerEntry] = {}  # the first that the liar heard of each device

    def outgoing(self, device: int, message: Message) -> Message:
        """Returns what a device really sends: with its proof, and if it is the liar with its lies."""
        lies = self.lying and device == self._device
        if isinstance(message, RequestReceipt):
            return replace(message, requests_waiting=0, expected_wait_s=0.0) if lies else message
        if isinstance(message, Presence):
            return replace(message, entry=self._own(message.entry, lies=lies))
        if isinstance(message, ViewExchange):
            own, *others = message.entries
            carried = [self._carried(entry) if lies else entry for entry in others]
            return replace(message, entries=(self._own(own, lies=lies), *carried))
        return message

    def incoming(self, message: Message) -> Message | None:
        """Returns what of a message reaches a core: entries up to the first that is forged."""
        if not self._signed:
            return message
        if isinstance(message, Presence):
            return message if self._is_word(message.entry) else None
        if isinstance(message, ViewExchange):
            kept: list[PeerEntry] = []
            for entry in message.entries:
                if not self._is_word(entry):
                    break
                kept.append(entry)
            return replace(message, entries=tuple(kept)) if kept else None
        return message

    def _own(self, entry: PeerEntry, *, lies: bool) -> PeerEntry:
        if lies:
            entry = replace(entry, requests_waiting=0, service_time_s_mean=LIE_S)
        if not self._signed:
            return entry
        proof = f"proof {len(self._words)}"
        self._words[proof] = entry
        return replace(entry, proof=proof)

    def _is_word(self, entry: PeerEntry) -> bool:
        return self._words.get(entry.proof) == replace(entry, proof="")

    def _carried(self, entry: PeerEntry) -> PeerEntry:
        """What the liar makes of an entry that it is to carry."""
        youth, rng = self._youth.setdefault(entry.device_id, entry), self._rng
        if rng.random() >= _LIE_CHANCE:
            return entry
        lies = [
            youth,
            replace(entry, requests_waiting=0, service_time_s_mean=LIE_S, heartbeat=entry.heartbeat + 3),
            replace(entry, incarnation=(entry.incarnation + rng.choice(_FURTHER)) % (INCARNATION_MAX + 1)),
            replace(entry, incarnation=INCARNATION_MAX, heartbeat=_HEARTBEAT_MAX),
        ]
        if self._signed:
            lies += [
                replace(entry, home_broker=_EVIL_HOME, heartbeat=entry.heartbeat + 3),
                replace(entry, model="mallory's", heartbeat=entry.heartbeat + 3),
                replace(entry, home_broker=_EVIL_HOME, incarnation=entry.incarnation + 1, proof=""),
                replace(youth, heartbeat=entry.heartbeat + 3),
            ]
        return rng.choice(lies)
