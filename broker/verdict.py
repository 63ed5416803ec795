"""What a probe's findings mean: for every role, topic and action, was it allowed, and should it have been?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import final

from broker.access import Action, Grant
from broker.probe import Attempt, Character, Findings
from edge_agent.mqtt import matches


class Kind(StrEnum):
    """How one thing that was tried came out."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    LEAK = "leak"
    """Allowed, and the topic table says no."""
    MISSING = "missing"
    """Refused, and the topic table says yes."""
    UNSEEN = "unseen"
    """Nobody was there who could have shown it, by sending or by receiving."""


@final
@dataclass(frozen=True, slots=True)
class Member:
    """A character and what the table grants them; `grants` None is somebody who must not even be let in."""

    character: Character
    grants: tuple[Grant, ...] | None = None
    end: tuple[str, str] | None = None
    """For who listens: (writer, topic) of a message that they must receive, after which nothing more can come."""

    def may(self, action: Action, topic: str) -> bool:
        """What the table says."""
        return any(one.action is action and matches(one.topic, topic) for one in self.grants or ())


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was tried. `action` is "connect", "read" or "write"; for "connect" there is no topic."""

    who: str
    action: str
    topic: str
    kind: Kind
    detail: str = ""


def judge(members: Sequence[Member], topics: Sequence[str], findings: Findings) -> list[Verdict]:
    """Returns a verdict for everything that was tried."""
    let_in = [member for member in members if member.character.name not in findings.refused]
    heard = _Heard(findings)
    verdicts = [_connection(member, findings) for member in members]
    for member in let_in:
        if member.grants is None:
            continue
        for topic in topics:
            verdicts.append(_writing(member, topic, let_in, findings, heard))
            verdicts.append(_reading(member, topic, let_in, heard))
    verdicts += [
        Verdict(who, "read", topic, Kind.LEAK, "a message that nobody here sent")
        for topic, who in sorted(findings.strange)
        if not any(member.character.name == who and member.may(Action.READ, topic) for member in let_in)
    ]
    return verdicts


def _connection(member: Member, findings: Findings) -> Verdict:
    name = member.character.name
    refused = name in findings.refused
    if member.grants is None:
        return Verdict(name, "connect", "", Kind.REFUSED if refused else Kind.LEAK, findings.refused.get(name, ""))
    if name in findings.deaf:
        return Verdict(name, "connect", "", Kind.MISSING, "let in, and received nothing, not even what it may read")
    return Verdict(name, "connect", "", Kind.MISSING if refused else Kind.ALLOWED, findings.refused.get(name, ""))


@final
class _Heard:
    """Who reached whom by which topic, to be looked up: an open broker delivers tens of thousands."""

    def __init__(self, findings: Findings) -> None:
        self.readers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """By writer and topic."""
        self.writers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """By reader and topic."""
        for attempt, reader in chain(findings.deliveries, findings.kept):
            self.readers[attempt.writer, attempt.topic].add(reader)
            self.writers[reader, attempt.topic].add(attempt.writer)


def _writing(member: Member, topic: str, let_in: Sequence[Member], findings: Findings, heard: _Heard) -> Verdict:
    name = member.character.name
    reached = heard.readers[name, topic]
    wanted = member.may(Action.WRITE, topic)
    if reached == {name} and not wanted:
        # A device that writes into its own inbox: rules of brokers know no "all but me", and it harms nobody.
        return Verdict(name, "write", topic, Kind.REFUSED, "reached only itself")
    if reached:
        return Verdict(name, "write", topic, Kind.ALLOWED if wanted else Kind.LEAK, f"reached {_names(reached)}")
    if any(one.may(Action.READ, topic) for one in let_in):
        return Verdict(name, "write", topic, Kind.MISSING if wanted else Kind.REFUSED)
    taken = any(Attempt(name, topic, retain) in findings.taken for retain in (False, True))
    return Verdict(name, "write", topic, Kind.UNSEEN if taken else Kind.REFUSED, "acknowledged" if taken else "")


def _reading(member: Member, topic: str, let_in: Sequence[Member], heard: _Heard) -> Verdict:
    name = member.character.name
    writers = heard.writers[name, topic]
    wanted = member.may(Action.READ, topic)
    if writers:
        return Verdict(name, "read", topic, Kind.ALLOWED if wanted else Kind.LEAK, f"from {_names(writers)}")
    if any(one.may(Action.WRITE, topic) for one in let_in):
        return Verdict(name, "read", topic, Kind.MISSING if wanted else Kind.REFUSED)
    return Verdict(name, "read", topic, Kind.UNSEEN)


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names))
