"""What a probe's findings mean: for every role, topic and action, was it allowed, and should it have been?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import final

from broker.access import Action, Grant
from broker.probe import Actor, Attempt, Findings
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
class Expectation:
    """Somebody who tries, and what the topic table grants them; `grants` None: they must not even be let in."""

    actor: Actor
    grants: tuple[Grant, ...] | None = None
    end: tuple[str, str] | None = None
    """For who listens: (writer, topic) of a message that they must receive, after which nothing more can come."""

    def may(self, action: Action, topic: str) -> bool:
        """What the table says."""
        return any(one.action is action and matches(one.topic, topic) for one in self.grants or ())


@final
@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried. `action` is "connect", "read" or "write"; for "connect" there is no topic."""

    who: str
    action: str
    topic: str
    kind: Kind
    detail: str = ""


def judge(expected_access: Sequence[Expectation], topics: Sequence[str], findings: Findings) -> list[CheckResult]:
    """Returns a result for everything that was tried."""
    let_in = [expected for expected in expected_access if expected.actor.name not in findings.refused]
    heard = _Heard(findings)
    results = [_connection(expected, findings) for expected in expected_access]
    for expected in let_in:
        if expected.grants is None:
            continue
        for topic in topics:
            results.append(_writing(expected, topic, let_in, findings, heard))
            results.append(_reading(expected, topic, let_in, heard))
    results += [
        CheckResult(who, "read", topic, Kind.LEAK, "a message that nobody here sent")
        for topic, who in sorted(findings.strange)
        if not any(expected.actor.name == who and expected.may(Action.READ, topic) for expected in let_in)
    ]
    return results


def _connection(expected: Expectation, findings: Findings) -> CheckResult:
    name = expected.actor.name
    refused = name in findings.refused
    if expected.grants is None:
        return CheckResult(name, "connect", "", Kind.REFUSED if refused else Kind.LEAK, findings.refused.get(name, ""))
    if name in findings.deaf:
        return CheckResult(
            name, "connect", "", Kind.MISSING, "connected, but received nothing, not even what it may read"
        )
    return CheckResult(name, "connect", "", Kind.MISSING if refused else Kind.ALLOWED, findings.refused.get(name, ""))


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


def _writing(
    expected: Expectation, topic: str, let_in: Sequence[Expectation], findings: Findings, heard: _Heard
) -> CheckResult:
    name = expected.actor.name
    reached = heard.readers[name, topic]
    wanted = expected.may(Action.WRITE, topic)
    if reached == {name} and not wanted:
        # A device that writes into its own inbox: rules of brokers know no "all but me", and it harms nobody.
        return CheckResult(name, "write", topic, Kind.REFUSED, "reached only itself")
    if reached:
        return CheckResult(name, "write", topic, Kind.ALLOWED if wanted else Kind.LEAK, f"reached {_names(reached)}")
    if any(one.may(Action.READ, topic) for one in let_in):
        return CheckResult(name, "write", topic, Kind.MISSING if wanted else Kind.REFUSED)
    taken = any(Attempt(name, topic, retain) in findings.taken for retain in (False, True))
    return CheckResult(name, "write", topic, Kind.UNSEEN if taken else Kind.REFUSED, "acknowledged" if taken else "")


def _reading(expected: Expectation, topic: str, let_in: Sequence[Expectation], heard: _Heard) -> CheckResult:
    name = expected.actor.name
    writers = heard.writers[name, topic]
    wanted = expected.may(Action.READ, topic)
    if writers:
        return CheckResult(name, "read", topic, Kind.ALLOWED if wanted else Kind.LEAK, f"from {_names(writers)}")
    if any(one.may(Action.WRITE, topic) for one in let_in):
        return CheckResult(name, "read", topic, Kind.MISSING if wanted else Kind.REFUSED)
    return CheckResult(name, "read", topic, Kind.UNSEEN)


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names))
