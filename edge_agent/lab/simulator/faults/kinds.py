"""What may go wrong, by name."""

from __future__ import annotations

from enum import StrEnum

from edge_agent.core.errors import SettingsError


class FaultKind(StrEnum):
    """A kind of fault. A new one goes to the end: what a seed draws for the others then stays."""

    LOSS = "loss"
    DOUBLING = "doubling"
    REORDERING = "reordering"
    PARTITION = "partition"
    OUTAGE = "outage"
    DISCONNECT = "disconnect"
    CRASH = "crash"
    DISK = "disk"
    SLOW = "slow"
    WEDGE = "wedge"
    ENGINE = "engine"
    CLOCK = "clock"
    CHURN = "churn"
    TRANSPORT = "transport"
    SIZES = "sizes"
    FREEZE = "freeze"
    CLONE = "clone"
    RETAIN = "retain"
    JOURNAL = "journal"
    EXCEPTION = "exception"
    UNABLE = "unable"
    ENDLESS = "endless"
    CARD = "card"
    REPEATS = "repeats"
    FLOOD = "flood"
    QUERIES = "queries"
    LYING = "lying"
    SHUT_OUT = "shut-out"


EXPLANATIONS = {
    FaultKind.LOSS: "messages between devices are lost",
    FaultKind.DOUBLING: "messages arrive twice",
    FaultKind.REORDERING: "messages are late and let later ones pass",
    FaultKind.PARTITION: "groups of devices cannot reach each other, though each has its broker",
    FaultKind.OUTAGE: "the broker goes and comes back, with or without what it kept",
    FaultKind.DISCONNECT: "a device loses its connection for a while",
    FaultKind.CRASH: "a device dies between two effects and starts again with its journal",
    FaultKind.DISK: "a device dies and starts again without its journal",
    FaultKind.SLOW: "a device is several times slower for a while",
    FaultKind.WEDGE: "an engine hangs until its supervisor ends it",
    FaultKind.ENGINE: "inferences fail, once or for good",
    FaultKind.CLOCK: "a device's wall clock jumps, by seconds or by years",
    FaultKind.CHURN: "devices join late, leave for good, stop and come back",
    FaultKind.TRANSPORT: "what is sent before the transport has started is dropped, as is what is worth nothing later",
    FaultKind.SIZES: "texts are as long as they may be, bodies have their limit and the broker may have a smaller one",
    FaultKind.FREEZE: "a device handles nothing for a while, then everything late; its will may be sent meanwhile",
    FaultKind.CLONE: "a second device has the id of another: each takes the other's session over",
    FaultKind.RETAIN: "the broker forgets retained messages and wills, or keeps none at all",
    FaultKind.JOURNAL: "a disk is full, read-only or damaged while the device runs, and well again",
    FaultKind.EXCEPTION: "an inference ends with an error that nobody foresaw",
    FaultKind.UNABLE: "an engine cannot infer for a while: its process died and is not loaded again",
    FaultKind.ENDLESS: "an inference does not end by itself",
    FaultKind.CARD: "a card takes seconds for a write",
    FaultKind.REPEATS: "hundreds of prompts, of which early ones are sent again late",
    FaultKind.FLOOD: "a user, a crowd without names or a device asks for many times what there is room for",
    FaultKind.QUERIES: "users ask what became of prompts, at any time, also of others' and who never asked any",
    FaultKind.LYING: "a device lies: that it is idle, and about others where they live and how often they started",
    FaultKind.SHUT_OUT: "the broker takes no answers for one user, until the faults end",
}

BY_NAME_ONLY: frozenset[FaultKind] = frozenset()
"""Kinds that `all` leaves out: the core does not withstand them yet."""

ALL_KINDS = tuple(kind for kind in FaultKind if kind not in BY_NAME_ONLY)


def parse_faults(text: str) -> tuple[FaultKind, ...]:
    """Reads `all` or names separated by commas.

    Raises:
        SettingsError: a name is not known.
    """
    if text == "all":
        return ALL_KINDS
    try:
        return tuple(FaultKind(name.strip()) for name in text.split(","))
    except ValueError:
        names = ", ".join(FaultKind)
        raise SettingsError(f"faults: {text!r} is not `all`, `list` or some of: {names}") from None
