"""Safeguards of the core that can be taken away, to show that the simulation would notice.

A checker that has never complained may be blind. With a safeguard gone, some seed must be caught.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from edge_agent.core import membership, peer_service, peers
from edge_agent.core.agent import Agent
from edge_agent.core.effects import JournalAnswer, JournalPrompt, SendToUser
from edge_agent.core.errors import SettingsError
from edge_agent.core.events import Event, InferenceFailed, PromptReceived, SessionsRestored
from edge_agent.core.messages import Answer, BusyReason, PromptReceipt
from edge_agent.core.peer_service import PeerService
from edge_agent.core.peers import Peer, PeerStatus, PeerView
from edge_agent.core.queue import InferenceQueue, Item
from edge_agent.core.reception import Reception
from edge_agent.core.requests import Requests
from edge_agent.core.sessions import Sessions
from edge_agent.simulator.faults.disks import Disks
from edge_agent.simulator.faults.engines import ENDLESS_S, Engines


@dataclass(frozen=True, slots=True)
class Ablation:
    """A safeguard and how to do without it: attributes to replace, as (owner, name, replacement)."""

    safeguard: str
    patches: tuple[tuple[object, str, Any], ...]


def _nothing(*_: object) -> None:
    """In the place of a method that would have done something."""


def _prompt_received(self: Reception, event: PromptReceived, now: float) -> None:
    _RECEIVE(self, event, now)
    out = self._context.out
    for at, effect in enumerate(out):
        if type(effect) is JournalPrompt and at + 1 < len(out):
            following = out[at + 1]
            if type(following) is SendToUser and type(following.message) is PromptReceipt:
                out[at], out[at + 1] = following, effect
            return


def _end(self: Sessions, *arguments: Any) -> None:
    _END(self, *arguments)
    out = self._context.out
    for at, effect in enumerate(out[:-1]):
        following = out[at + 1]
        if type(effect) is JournalAnswer and type(following) is SendToUser and type(following.message) is Answer:
            out[at], out[at + 1] = following, effect


def _restored_without_answers(self: Reception, event: SessionsRestored, now: float) -> None:
    answers = tuple(replace(answer, delivered=True) for answer in event.answers)
    _RESTORED(self, SessionsRestored(event.sessions, answers), now)


def _restored_without_sessions(self: Reception, event: SessionsRestored, now: float) -> None:
    _RESTORED(self, SessionsRestored((), event.answers), now)


def _refusal_without_reservations(self: InferenceQueue, origin: str, size_bytes: int) -> BusyReason | None:
    if len(self.waiting) + len(self.running) >= self._capacity:
        return BusyReason.QUEUE_FULL
    return BusyReason.OVER_SHARE if self._held.get(origin, 0) >= self._share else None


def _queue_without_shares(self: InferenceQueue, capacity: int, bytes_max: int, origin_share: float) -> None:
    _QUEUE(self, capacity, bytes_max, 1.0)


def _pop_last(self: InferenceQueue) -> Item | None:
    return self.waiting.popitem(last=True)[1] if self.waiting else None


def _can_be_asked_while_unable(peer: Peer) -> bool:
    return peer.status is PeerStatus.ALIVE


def _no_outcome(self: Engines, seconds: float, item_id: str) -> tuple[float, Event]:
    return ENDLESS_S, InferenceFailed(item_id, "never heard of", retryable=False)


_RECEIVE, _RESTORED, _END = Reception.prompt_received, Reception.restored, Sessions.end
_QUEUE = InferenceQueue.__init__
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
            (InferenceQueue, "refusal", _refusal_without_reservations),
            (InferenceQueue, "check_invariants", _nothing),
        ),
    ),
    "share": Ablation(
        "one device may hold only a share of another's places", ((InferenceQueue, "__init__", _queue_without_shares),)
    ),
    "cancel": Ablation("what is not wanted any more is dropped", ((PeerService, "cancel_received", _nothing),)),
    "first-come": Ablation("items are served in the order they came", ((InferenceQueue, "pop", _pop_last),)),
    "deadline": Ablation("a session ends at its deadline", ((Sessions, "deadline_reached", _nothing),)),
    "journal-before-receipt": Ablation(
        "a prompt is journalled before its receipt is sent", ((Reception, "prompt_received", _prompt_received),)
    ),
    "journal-before-answer": Ablation("an answer is journalled before it is sent", ((Sessions, "end", _end),)),
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
    "seeds": Ablation("seeds are asked again and again", ((membership, "_SEED_EVERY", 10**9),)),
    "engine-outcome": Ablation(
        "every inference has an outcome, whatever the engine raises", ((Engines, "unforeseen", _no_outcome),)
    ),
    "engine-health": Ablation(
        "a device that cannot infer says so and takes nothing on", ((Agent, "_health_changed", _nothing),)
    ),
    "able-peers": Ablation(
        "who cannot infer is not asked by those who know", ((peers, "_can_be_asked", _can_be_asked_while_unable),)
    ),
    "not-durable": Ablation(
        "a receipt says when its prompt could not be written", ((Disks, "note_failure", _nothing),)
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
