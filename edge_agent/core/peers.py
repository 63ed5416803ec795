"""The bounded view of the other devices: who is alive, what is known of each, and when it was last heard of.

Those that are alive and able to infer can be asked: they are what a selection sees. What a peer said (`word`) is
carried on as it came; what is believed of it (`entry`) also knows its receipts. Of its load only its own word is
believed: what it says itself, or what others carry with its proof.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.core.errors import InvariantError
from edge_agent.core.incarnations import is_newer
from edge_agent.core.measured import Measured, Promise
from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies.peer_selection import Draws

_GRAVES_MAX = 256  # dead devices remembered, so that old gossip does not bring them back


class PeerStatus(StrEnum):
    """What a device believes of a peer. Dead peers have left the view."""

    ALIVE = "alive"
    SUSPECT = "suspect"


@dataclass(slots=True)
class Peer:
    """One row of the view.

    entry: what is believed of it. word: its newest word, as it came. heard_at: local time, when news of it last came,
    from itself or by gossip. own_load: whether the load in `entry` is its own word. told_s: the service time that it
    tells, believed or not.
    """

    entry: PeerEntry
    status: PeerStatus
    heard_at: float
    word: PeerEntry
    own_load: bool
    told_s: float | None


class PeerView:
    """Peers by id. Those that can be asked can be indexed, so that a selection need not copy them."""

    __slots__ = ("_askable", "_askable_at", "_graves", "_measured", "_peers", "_self_id", "_size_max")

    def __init__(self, self_id: str, size_max: int) -> None:
        self._self_id = self_id
        self._size_max = size_max
        self._measured = Measured()
        self._peers: dict[str, Peer] = {}
        self._askable: list[str] = []
        self._askable_at: dict[str, int] = {}
        self._graves: OrderedDict[str, PeerEntry] = OrderedDict()  # id -> the last word before its death

    def __len__(self) -> int:
        """The number of peers that can be asked: alive, and able to infer."""
        return len(self._askable)

    def __getitem__(self, index: int) -> PeerEntry:
        """The peer that can be asked at `index`, for `PeerSelection`."""
        return self._peers[self._askable[index]].entry

    @property
    def size(self) -> int:
        """The number of peers known, alive and suspect."""
        return len(self._peers)

    def get(self, device_id: str) -> Peer | None:
        """Returns the row of a device, `None` if it is not in the view."""
        return self._peers.get(device_id)

    def rows(self) -> list[Peer]:
        """Returns every row, alive and suspect, in the order in which they came."""
        return list(self._peers.values())

    def word_of(self, entry: PeerEntry) -> PeerEntry:
        """Returns what the peer of `entry` said, as it is carried on."""
        known = self._peers.get(entry.device_id)
        return known.word if known is not None else entry

    def learn(self, entry: PeerEntry, now: float, draws: Draws, *, carried: bool = False) -> bool:
        """Takes news of a device; older news than is known changes nothing. Returns whether it is new to the view.

        carried: another device brought it. Without a proof, what it says of the load is then believed only until the
            device itself has said something.

        A full view forgets a random row for a new one: no device can be kept out, and none can fill the view for good
        by shouting.
        """
        device_id = entry.device_id
        if device_id == self._self_id:
            return False
        own_load = not carried or bool(entry.proof)
        known = self._peers.get(device_id)
        if known is not None:
            if is_newer(entry.age, known.entry.age):
                self._take(known, entry, own_load)
                self._revive(known, now)
                self._list(known)
            return False
        grave = self._graves.get(device_id)
        if grave is not None and not is_newer(entry.age, grave.age):
            return False
        if len(self._peers) >= self._size_max:
            self._remove(list(self._peers)[int(draws.random() * len(self._peers))])
        self._graves.pop(device_id, None)
        peer = self._peers[device_id] = Peer(entry, PeerStatus.ALIVE, now, entry, own_load, entry.service_time_s_mean)
        self._weigh(peer)
        self._list(peer)
        return True

    def newer_than(self, entry: PeerEntry) -> PeerEntry | None:
        """Returns the newest word of the device of `entry`, living or dead, if that is newer than `entry`."""
        known = self._peers.get(entry.device_id)
        word = known.word if known else self._graves.get(entry.device_id)
        return word if word is not None and is_newer(word.age, entry.age) else None

    def heard(self, device_id: str, now: float) -> None:
        """A message came from the device itself: it is alive."""
        known = self._peers.get(device_id)
        if known is not None:
            self._revive(known, now)

    def set_load(self, device_id: str, requests_waiting: int) -> None:
        """Takes fresh news of a peer's queue from its own receipt."""
        known = self._peers.get(device_id)
        if known is not None and known.entry.requests_waiting != requests_waiting:
            known.entry = replace(known.entry, requests_waiting=requests_waiting)

    def set_unable(self, device_id: str) -> None:
        """Takes a peer's own word that it cannot infer; it is asked again after it says that it can."""
        known = self._peers.get(device_id)
        if known is not None and known.entry.able:
            known.entry = replace(known.entry, able=False)
            self._list(known)

    def promise_of(self, entry: PeerEntry) -> Promise:
        """Returns what the figures of the peer of `entry` promise now, believed or not."""
        known = self._peers.get(entry.device_id)
        return Promise(entry.requests_waiting, known.told_s if known is not None else entry.service_time_s_mean)

    def measure(self, device_id: str, promise: Promise, taken_s: float, *, finished: bool = True) -> None:
        """A peer has responded after `taken_s`; or, not `finished`, has not until it was not asked any longer."""
        self._measured.note(device_id, promise, taken_s, finished=finished)
        known = self._peers.get(device_id)
        if known is not None:
            self._weigh(known)

    def suspect(self, device_id: str) -> bool:
        """Stops choosing a device until there is news of it. Returns whether it was alive until now."""
        known = self._peers.get(device_id)
        if known is None or known.status is PeerStatus.SUSPECT:
            return False
        known.status = PeerStatus.SUSPECT
        self._list(known)
        return True

    def bury(self, last: PeerEntry) -> bool:
        """Removes a dead device, unless what is known is of a later incarnation. Returns whether it was in the view.

        last: its last word, as far as whoever tells of its death knows it.
        """
        device_id, known = last.device_id, self._peers.get(last.device_id)
        if known is not None:
            if known.word.incarnation != last.incarnation and is_newer(known.word.age, last.age):
                return False
            last = _newer(last, known.word)
        if (grave := self._graves.get(device_id)) is not None:
            last = _newer(last, grave)
        self._graves[device_id] = last
        if len(self._graves) > _GRAVES_MAX:
            self._graves.popitem(last=False)
        return self._remove(device_id)

    def refresh(self, now: float) -> None:
        """Forgives everybody's silence until `now`: it was this device that could not hear."""
        for peer in self._peers.values():
            peer.heard_at = now

    def age(self, now: float, suspect_after_s: float, dead_after_s: float) -> tuple[list[str], list[str]]:
        """Suspects peers without news and removes long-silent ones; returns the ids of the newly suspected and of the
        removed."""
        silent, dead = [], []
        for device_id, peer in self._peers.items():
            silence = now - peer.heard_at
            if silence >= dead_after_s:
                dead.append(device_id)
            elif silence >= suspect_after_s and self.suspect(device_id):
                silent.append(device_id)
        for device_id in dead:
            self.bury(self._peers[device_id].word)
        return silent, dead

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a bound does not hold or the list of the alive is off."""
        if len(self._peers) > self._size_max or len(self._graves) > _GRAVES_MAX or self._self_id in self._peers:
            raise InvariantError("the peer view is over its bound or holds the device itself")
        askable = {device_id for device_id, peer in self._peers.items() if _can_be_asked(peer)}
        places = self._askable_at
        listed = [self._askable[at] for at in places.values()]
        if askable != places.keys() or len(askable) != len(self._askable) or listed != list(places):
            raise InvariantError("the list of peers that can be asked is off")

    def _take(self, peer: Peer, word: PeerEntry, own_load: bool) -> None:
        peer.word, before = word, peer.entry
        if own_load or not peer.own_load or word.incarnation != before.incarnation:
            peer.entry, peer.own_load, peer.told_s = word, own_load, word.service_time_s_mean
            self._weigh(peer)
        else:
            peer.entry = replace(
                word,
                requests_waiting=before.requests_waiting,
                service_time_s_mean=before.service_time_s_mean,
                able=before.able,
            )

    def _weigh(self, peer: Peer) -> None:
        """Believes a peer's speed as far as what was measured of it allows."""
        believed_s = self._measured.believed_s(peer.entry.device_id, peer.told_s)
        if believed_s != peer.entry.service_time_s_mean:
            peer.entry = replace(peer.entry, service_time_s_mean=believed_s)

    def _revive(self, peer: Peer, now: float) -> None:
        peer.heard_at = now
        if peer.status is PeerStatus.SUSPECT:
            peer.status = PeerStatus.ALIVE
            self._list(peer)

    def _list(self, peer: Peer) -> None:
        """Lists a peer that can be asked, and no other."""
        device_id = peer.entry.device_id
        if not _can_be_asked(peer):
            self._unlist(device_id)
        elif device_id not in self._askable_at:
            self._askable_at[device_id] = len(self._askable)
            self._askable.append(device_id)

    def _remove(self, device_id: str) -> bool:
        self._unlist(device_id)
        return self._peers.pop(device_id, None) is not None

    def _unlist(self, device_id: str) -> None:
        at = self._askable_at.pop(device_id, None)
        if at is not None:
            last = self._askable.pop()
            if last != device_id:
                self._askable[at] = last
                self._askable_at[last] = at


def _newer(one: PeerEntry, other: PeerEntry) -> PeerEntry:
    return one if is_newer(one.age, other.age) else other


def _can_be_asked(peer: Peer) -> bool:
    return peer.status is PeerStatus.ALIVE and peer.entry.able
