"""Safeguards that can be taken away, to show that the simulation would notice.

A checker that has never complained may be blind. With a safeguard gone, some seed must be caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from edge_agent.core import events, membership, peer_service, peers, requests, shares
from edge_agent.core.agent import Agent
from edge_agent.core.effects import JournalAnswer, JournalPrompt, SendToUser
from edge_agent.core.ends import Ends
from edge_agent.core.errors import JournalError, SettingsError
from edge_agent.core.events import Event, InferenceFailed, PromptReceived, ReplyRoute, SessionsRestored
from edge_agent.core.incarnations import INCARNATION_MAX, Age
from edge_agent.core.inference import InferenceServer
from edge_agent.core.kept import End, EndState, Kept
from edge_agent.core.measured import Measured
from edge_agent.core.messages import Answer, PeerEntry
from edge_agent.core.peer_service import PeerService
from edge_agent.core.peers import Peer, PeerStatus, PeerView
from edge_agent.core.policies.peer_selection import Draws
from edge_agent.core.queue import InferenceQueue, Item
from edge_agent.core.reception import Reception
from edge_agent.core.requests import Requests
from edge_agent.core.sessions import Sessions
from edge_agent.core.shares import Shares, Shortage
from edge_agent.core.twins import Twins
from edge_agent.lab.simulator.faults.disks import Disks, Record
from edge_agent.lab.simulator.faults.engines import ENDLESS_S, Engines
from edge_agent.lab.simulator.faults.journal import Disk, SimulatedJournal
from edge_agent.lab.simulator.faults.kinds import ALL_KINDS, FaultKind
from edge_agent.lab.simulator.faults.liars import Liars


@dataclass(frozen=True, slots=True)
class Ablation:
    """A safeguard and how to do without it: attributes to replace, as (owner, name, replacement)."""

    safeguard: str
    patches: tuple[tuple[object, str, Any], ...]
    faults: tuple[FaultKind, ...] = ALL_KINDS
    """What it is for, where that is rare among all kinds: with these alone a few seeds find that it is gone."""


def _nothing(*_: object) -> None:
    """In the place of a method that would have done something."""


def _prompt_received(self: Reception, event: PromptReceived, now: float) -> None:
    _RECEIVE(self, event, now)
    if any(type(effect) is JournalPrompt for effect in self._context.out):
        self._send_receipt(event.reply, event.prompt.prompt_id, True, now)


def _add_and_tell(self: Ends, key: str, answer: Answer, reply: ReplyRoute, accepted_at: float, now: float) -> None:
    _ADD(self, key, answer, reply, accepted_at, now)
    self.written(key, kept=True)


def _send_without_a_connection(self: Ends, end: Any) -> None:
    if end.state is EndState.OWED:
        end.state = EndState.SENDING
        self._sending += 1
        self._context.out.append(SendToUser(end.reply, end.answer))


def _send_owed_once(self: Ends) -> None:
    for end in list(self._kept.open.values()):
        self._send(end)


def _take_for_delivered(self: Ends, key: str, delivered: bool, now: float) -> None:
    _SENT(self, key, True, now)


def _keep_256_answers(self: Ends, now: float) -> None:
    _FORGET(self, now)
    while len(self._kept.delivered) > 256:
        self._forget(next(iter(self._kept.delivered.values())))


def _item_due_if_it_waits(self: InferenceServer, item_id: str, now: float) -> None:
    if item_id not in self.queue.running:
        _ITEM_DUE(self, item_id, now)


def _uncut(messages: object, references: tuple[str, ...], message_bytes_max: int) -> tuple[tuple[str, ...], int]:
    return references, 0


def _tell_no_error(self: Disks, device: int, record: Record, error: str) -> None:
    _TELL(self, device, record, "")


def _full_for_ends(self: SimulatedJournal, effect: JournalAnswer) -> None:
    if self.disk is Disk.FULL:
        raise JournalError(Disk.FULL.value)
    _RECORD_ANSWER(self, effect)


def _restored_without_answers(self: Reception, event: SessionsRestored, now: float) -> None:
    answers = tuple(replace(answer, delivered=True) for answer in event.answers)
    _RESTORED(self, SessionsRestored(event.sessions, answers), now)


def _restored_without_sessions(self: Reception, event: SessionsRestored, now: float) -> None:
    _RESTORED(self, SessionsRestored((), event.answers), now)


def _shortage_without_reservations(self: InferenceQueue, holder: str, size_bytes: int, work: int) -> Shortage | None:
    return Shortage.FULL if len(self.waiting) + len(self.running) >= self.shares._total[0] else None


def _shares_without_a_reserve(self: Shares, *amounts: Any) -> None:
    _SHARES(self, *amounts)
    self._most = self._total


def _count_every_client_apart(principal: str, client: str) -> str:
    return f"{principal}.{client}/"


def _pop_head(self: InferenceQueue) -> Item | None:
    head = next(iter(self.waiting.values()), None)
    if head is not None:
        del self.waiting[head.item_id]
        self.waiting_with_references -= bool(head.references)
    return head


def _always_another(self: InferenceQueue, head: Item) -> Item:
    return next((item for item in self.waiting.values() if not self.shares.is_over(item.holder)), head)


def _pop_last(self: InferenceQueue) -> Item | None:
    if not self.waiting:
        return None
    item = self.waiting.popitem(last=True)[1]
    self.waiting_with_references -= bool(item.references)
    return item


def _can_be_asked_while_unable(peer: Peer) -> bool:
    return peer.status is PeerStatus.ALIVE


def _no_outcome(self: Engines, seconds: float, item_id: str) -> tuple[float, Event]:
    return ENDLESS_S, InferenceFailed(item_id, "never heard of", retryable=False)


def _oldest_of_all(self: Kept, spare: End) -> End | None:
    return next((end for end in (*self.delivered.values(), *self.open.values()) if end is not spare), None)


def _everybodys(self: Kept, holder: str, behind: tuple[float] | tuple[float, str, str]) -> Iterator[End]:
    every = (end for other in list(self._shelves) for end in _NEWEST(self, other, behind))
    yield from sorted(every, key=lambda end: end.place, reverse=True)


def _learn_all_as_own(self: PeerView, entry: PeerEntry, now: float, draws: Draws, *, carried: bool = False) -> bool:
    return _LEARN(self, entry, now, draws)


def _highest_is_newest(one: Age, other: Age) -> bool:
    return one > other


_LEARN = PeerView.learn
_RECEIVE, _RESTORED = Reception.prompt_received, Reception.restored
_ADD, _SENT, _FORGET, _NEWEST = Ends.add, Ends.sent, Ends.forget_old, Kept.newest
_ITEM_DUE, _TELL, _RECORD_ANSWER = InferenceServer.item_due, Disks.tell, SimulatedJournal.record_answer
_SHARES = Shares.__init__
_numbers = count()

ABLATIONS = {
    "receipt-timeout": Ablation(
        "a request without a receipt is sent again, then given to a substitute", ((Requests, "receipt_due", _nothing),)
    ),
    "probe": Ablation("a queued request is asked after", ((Requests, "probe_due", _nothing),)),
    "reconnect": Ablation("requests are sent again on a new connection", ((Requests, "reconnected", _nothing),)),
    "repeat-detection": Ablation(
        "a repeated request is not queued again",
        ((peer_service, "_item_id", lambda origin, request_id: f"{origin}/{request_id}/{next(_numbers)}"),),
    ),
    "reserved-places": Ablation(
        "sessions keep a place for their later stages",
        (
            (InferenceQueue, "shortage", _shortage_without_reservations),
            (InferenceQueue, "check_invariants", _nothing),
        ),
    ),
    "share": Ablation(
        "those who have more than their share leave a reserve for others",
        ((Shares, "__init__", _shares_without_a_reserve),),
    ),
    "share-of-anybody": Ablation(
        "the clients of a broker that lets everybody in leave it, too, all together",
        ((shares, "is_anybody", lambda holder: False),),
        faults=(FaultKind.FLOOD,),
    ),
    "share-of-user": Ablation(
        "what a user has is counted whichever of its clients asked",
        ((events, "user_holder", _count_every_client_apart),),
    ),
    "pass": Ablation("others pass those who have more than their share", ((InferenceQueue, "pop", _pop_head),)),
    "turn": Ablation(
        "those who are passed have a turn all the same",
        ((InferenceQueue, "_next_instead_of", _always_another),),
        faults=(FaultKind.FLOOD,),
    ),
    "yield-elsewhere": Ablation(
        "what is asked of others for a user with more than a share yields there, too",
        ((Requests, "_yields", lambda self, session: False),),
        faults=(FaultKind.FLOOD,),
    ),
    "cost-caps": Ablation(
        "a prompt may cost no more than its device allows", ((Reception, "_over_caps", lambda self, options: ""),)
    ),
    "cancel": Ablation("what is not wanted any more is dropped", ((PeerService, "cancel_received", _nothing),)),
    "first-come": Ablation("items are served in the order they came", ((InferenceQueue, "pop", _pop_last),)),
    "deadline": Ablation("a session ends at its deadline", ((Sessions, "deadline_reached", _nothing),)),
    "journal-before-receipt": Ablation(
        "a prompt is journalled before its receipt is sent", ((Reception, "prompt_received", _prompt_received),)
    ),
    "journal-before-answer": Ablation("an answer is journalled before it is sent", ((Ends, "add", _add_and_tell),)),
    "restored-sessions": Ablation(
        "a restart takes up unfinished prompts", ((Reception, "restored", _restored_without_sessions),)
    ),
    "restored-answers": Ablation(
        "a restart sends undelivered answers again", ((Reception, "restored", _restored_without_answers),)
    ),
    "outdo": Ablation(
        "a device without disk and clock outdoes what is remembered of it",
        ((PeerView, "newer_than", lambda self, entry: None),),
    ),
    "twins": Ablation("of two with one id the later stands aside", ((Twins, "heard", _nothing),)),
    "seeds": Ablation(
        "seeds are asked again and again",
        ((membership, "_SEED_EVERY", 10**9),),
        faults=(FaultKind.PARTITION, FaultKind.LOSS),
    ),
    "engine-outcome": Ablation(
        "every inference has an outcome, whatever the engine raises", ((Engines, "unforeseen", _no_outcome),)
    ),
    "engine-health": Ablation(
        "a device that cannot infer says so and takes nothing on", ((Agent, "_health_changed", _nothing),)
    ),
    "able-peers": Ablation(
        "who cannot infer is not asked by those who know", ((peers, "_can_be_asked", _can_be_asked_while_unable),)
    ),
    "not-durable": Ablation("a receipt says when its prompt could not be written", ((Disks, "tell", _tell_no_error),)),
    "owed-until-connected": Ablation(
        "an end is told once there is a connection, and delivered once the broker has it",
        (
            (Ends, "_send", _send_without_a_connection),
            (Ends, "send_owed", _send_owed_once),
            (Ends, "sent", _take_for_delivered),
            (Ends, "check_invariants", _nothing),
        ),
        faults=(FaultKind.TRANSPORT, FaultKind.CRASH),
    ),
    "answers-kept": Ablation(
        "an answer is kept for its time, however many there are", ((Ends, "forget_old", _keep_256_answers),)
    ),
    "kept-share": Ablation(
        "of too many answers those of who keeps most go",
        ((Kept, "next_to_go", _oldest_of_all),),
        faults=(FaultKind.FLOOD, FaultKind.QUERIES),
    ),
    "owed-room": Ablation(
        "who is owed much is promised no more",
        ((Ends, "has_room", lambda self, holder, sessions: True),),
        faults=(FaultKind.FLOOD, FaultKind.SHUT_OUT),
    ),
    "own-answers": Ablation("nobody is told what became of another's prompt", ((Kept, "newest", _everybodys),)),
    "answers-on-disk": Ablation(
        "what became of a prompt is told once it is on disk", ((End, "is_written", property(lambda self: True)),)
    ),
    "running-deadline": Ablation(
        "an item ends at its deadline also while it runs",
        (
            (InferenceServer, "item_due", _item_due_if_it_waits),
            (InferenceServer, "check_invariants", _nothing),
        ),
    ),
    "lost-origin": Ablation("nobody works for a device that is gone", ((PeerService, "origin_lost", _nothing),)),
    "reference-sizes": Ablation("references are cut to what fits a message", ((requests, "fit_references", _uncut),)),
    "owed-sizes": Ablation(
        "an end is cut to what today's broker takes",
        ((Ends, "_cut", lambda self, end: False),),
        faults=(FaultKind.SIZES, FaultKind.OUTAGE),
    ),
    "entry-proofs": Ablation(
        "an entry counts only with its owner's proof", ((Liars, "incoming", lambda self, message: message),)
    ),
    "newest-word": Ablation(
        "older news of a device changes nothing", ((peers, "is_newer", lambda one, other: one != other),)
    ),
    "round-numbers": Ablation(
        "no incarnation is the highest",
        (
            (peers, "is_newer", _highest_is_newest),
            (membership, "is_newer", _highest_is_newest),
            (membership, "next_incarnation", lambda incarnation: min(incarnation + 1, INCARNATION_MAX)),
        ),
        faults=(FaultKind.LYING,),
    ),
    "carried-load": Ablation(
        "what others say of a device's load does not count once it has spoken",
        ((PeerView, "learn", _learn_all_as_own),),
        faults=(FaultKind.LYING,),
    ),
    "measured": Ablation(
        "a peer that promises what it does not keep is not believed",
        ((Measured, "believed_s", lambda self, device_id, told_s: told_s),),
        faults=(FaultKind.LYING,),
    ),
    "ends-reserve": Ablation(
        "an end that a full disk refuses is kept in the reserve", ((SimulatedJournal, "record_answer", _full_for_ends),)
    ),
}


def check_safeguard(name: str) -> None:
    """Raises `SettingsError` if there is no safeguard of that name."""
    if name not in ABLATIONS:
        raise SettingsError(f"no safeguard {name!r}; there are: {', '.join(ABLATIONS)}")


@contextmanager
def without(name: str) -> Iterator[None]:
    """Takes a safeguard away inside the block.

    Raises:
        SettingsError: there is none of that name, or the core is compiled.
    """
    check_safeguard(name)
    if not str(membership.__file__).endswith(".py"):  # compiled calls do not look their methods up
        raise SettingsError("a safeguard can be taken away in pure Python only: run moamesh simulate")
    with ExitStack() as undo:
        for owner, attribute, replacement in ABLATIONS[name].patches:
            undo.callback(setattr, owner, attribute, getattr(owner, attribute))
            setattr(owner, attribute, replacement)
        yield
