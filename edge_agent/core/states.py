"""The states of a session, of a request and of a queued item, with their transition tables.

A session is one user prompt at its origin device:

                                  (M = 0, or the last layer joined)
        ACCEPTED ──────────────────────────────► AGGREGATING ──► ANSWERED
           │                                      ▲   │
           └──► PROPOSING ────────────────────────┘   │
                 │  ▲ │  the next layer               │
                 └──┘ │                               │
                      └──► EXPIRED, CANCELLED, FAILED ◄┘     (ACCEPTED can end so as well)

At its deadline a session with any proposal is ANSWERED with the best one, wherever it stands. AGGREGATING is also where
a peer is asked to aggregate because this device cannot.

Where a judge is asked, JUDGING stands between PROPOSING and what follows it: PROPOSING again, or AGGREGATING. A session
taken up after a restart may go there from ACCEPTED: its last layer has joined, but what the judge said is not kept.

A request is one proposal asked of one peer, as its origin sees it. An item is one place in a device's inference
queue, whether its own session or a peer put it there.

The tables are the only place that says what may follow what; `advance` refuses everything else, and
docs/PROTOCOL.md is generated from them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from edge_agent.core.errors import InvariantError


class Outcome(StrEnum):
    """How a prompt ended: each accepted prompt has exactly one."""

    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ItemOutcome(StrEnum):
    """How a place in an inference queue ended."""

    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ItemRole(StrEnum):
    """What an inference is for: a stage of this device's own session, or a proposal for another's."""

    PROPOSER = "proposer"
    JUDGE = "judge"
    AGGREGATOR = "aggregator"
    PEER = "peer"


class SessionState(StrEnum):
    """Where a session stands."""

    ACCEPTED = "accepted"
    PROPOSING = "proposing"
    JUDGING = "judging"
    AGGREGATING = "aggregating"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class RequestState(StrEnum):
    """Where a proposal asked of a peer stands."""

    ASKED = "asked"
    QUEUED = "queued"
    JOINED = "joined"
    BUSY = "busy"
    LOST = "lost"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """Where a place in the inference queue stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


_S = SessionState
# ANSWERED from anywhere: at its deadline the best proposal is the answer
_SESSION_ENDS = frozenset({_S.ANSWERED, _S.EXPIRED, _S.CANCELLED, _S.FAILED})
SESSION_TRANSITIONS: dict[SessionState, frozenset[SessionState]] = {
    _S.ACCEPTED: frozenset({_S.PROPOSING, _S.JUDGING, _S.AGGREGATING}) | _SESSION_ENDS,
    _S.PROPOSING: frozenset({_S.PROPOSING, _S.JUDGING, _S.AGGREGATING}) | _SESSION_ENDS,
    _S.JUDGING: frozenset({_S.PROPOSING, _S.AGGREGATING}) | _SESSION_ENDS,
    _S.AGGREGATING: _SESSION_ENDS,
    _S.ANSWERED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.FAILED: frozenset(),
}

_R = RequestState
_REQUEST_ENDS = frozenset({_R.JOINED, _R.BUSY, _R.LOST, _R.FAILED, _R.CANCELLED})
REQUEST_TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    _R.ASKED: frozenset({_R.QUEUED}) | _REQUEST_ENDS,
    # a repeated request is answered anew: the peer may have restarted and be busy now
    _R.QUEUED: frozenset({_R.QUEUED}) | _REQUEST_ENDS,
    _R.JOINED: frozenset(),
    _R.BUSY: frozenset(),
    _R.LOST: frozenset(),
    _R.FAILED: frozenset(),
    _R.CANCELLED: frozenset(),
}

_I = ItemState
ITEM_TRANSITIONS: dict[ItemState, frozenset[ItemState]] = {
    # FAILED: the engine cannot infer at all
    _I.WAITING: frozenset({_I.RUNNING, _I.EXPIRED, _I.CANCELLED, _I.FAILED}),
    # back to RUNNING: an inference lost to an engine crash is tried once more
    _I.RUNNING: frozenset({_I.RUNNING, _I.COMPLETED, _I.EXPIRED, _I.CANCELLED, _I.FAILED}),
    _I.COMPLETED: frozenset(),
    _I.EXPIRED: frozenset(),
    _I.CANCELLED: frozenset(),
    _I.FAILED: frozenset(),
}

SESSION_ENDS = frozenset(state for state, following in SESSION_TRANSITIONS.items() if not following)

_State = TypeVar("_State", SessionState, RequestState, ItemState)


def advance(table: dict[_State, frozenset[_State]], old: _State, new: _State) -> _State:
    """Returns `new` if `table` allows it after `old`.

    Raises:
        InvariantError: the transition is not in the table; a defect of ours, never of a peer.
    """
    if new not in table[old]:
        raise InvariantError(f"{type(old).__name__} may not go from {old} to {new}")
    return new
