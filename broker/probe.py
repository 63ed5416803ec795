"""Finds out what a broker lets through: everybody publishes everywhere, everybody listens to everything.

It is judged by the messages received. A broker may grant a subscription and then deliver nothing, or acknowledge a
message and drop it, so neither a SUBACK nor a PUBACK says what somebody can really read or write.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient, Received
from edge_agent.wire import client_ids
from edge_agent.wire.topics import ROOT

END_QUIET_S = 10.0  # without any message: then the one after which nothing more can come does not come
END_TIMEOUT_S = 300.0  # a broker that lets everybody write everywhere has thousands to deliver before it
SETTLE_S = 0.3  # and then: a cluster may deliver two senders' messages in another order

WIDE_FILTERS = (
    "#",
    "+/#",
    "$SYS/#",
    f"{ROOT}/#",
    f"{ROOT}/+/devices/+/+",
    f"{ROOT}/+/devices/+/+/+",
    f"{ROOT}/+/devices/+/+/+/+",
)
"""What a curious client subscribes to."""


@final
@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who tries, under a name for the report."""

    name: str
    endpoint: Endpoint
    credentials: Credentials


@final
@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """One publish."""

    writer: str
    topic: str
    retain: bool


@final
@dataclass(slots=True)
class Findings:
    """What was seen."""

    refused: dict[str, str] = field(default_factory=dict)
    """Who was not let in, and how the broker said so."""
    taken: set[Attempt] = field(default_factory=set)
    """What the broker acknowledged without an error: a hint, no proof."""
    deliveries: set[tuple[Attempt, str]] = field(default_factory=set)
    """Which attempt reached whom, while it was listening."""
    kept: set[tuple[Attempt, str]] = field(default_factory=set)
    """Which attempt reached whom later, as a retained message."""
    strange: set[tuple[str, str]] = field(default_factory=set)
    """Messages that nobody here sent: (topic, who received it)."""
    deaf: set[str] = field(default_factory=set)
    """Who did not get the message that ends the probe, and so proves nothing by its silence."""


@final
@dataclass(frozen=True, slots=True)
class Probe:
    """A set of actors, the topics that each tries, and for each who listens the (writer, topic) that ends it.

    An end must be something the table allows.
    """

    actors: Sequence[Actor]
    topics: Sequence[str]
    ends: Mapping[str, tuple[str, str]]

    def run(self) -> Findings:
        """Tries everything, clears what was retained, and returns what was seen. Blocks; takes some seconds."""
        findings = Findings()
        nonce = secrets.token_hex(8)
        with contextlib.ExitStack() as open_now:
            ears = dict(self._connect(open_now, "ear", findings))
            anybody = bool(set(ears) - set(self.ends))  # may come in: then everybody hears everything
            sharers = {} if anybody else dict(self._connect(open_now, "share", Findings()))
            mouths = {name: _Mouth(self._actor(name)) for name in ears}
            for mouth in mouths.values():
                open_now.callback(mouth.close)
            try:
                # A broker delivers a message once for each filter that fits, and there are thousands.
                filters = ("#",) if anybody else (*WIDE_FILTERS, *self.topics)
                self._listen(ears, filters)
                self._listen_shared(sharers)
                for attempt in self._attempts(mouths):
                    mouths[attempt.writer].add(attempt, _payload(nonce, attempt))
                for mouth in mouths.values():
                    findings.taken |= mouth.speak()
                findings.deaf |= self._end(ears, mouths, f"{nonce} end live".encode())
                self._sort(ears, nonce, findings, late=False)
                self._sort(sharers, nonce, findings, late=False)
                with contextlib.ExitStack() as later:
                    late_ears = dict(self._connect(later, "late", Findings()))
                    self._listen(late_ears, filters)
                    self._end(late_ears, mouths, f"{nonce} end late".encode())
                    self._sort(late_ears, nonce, findings, late=True)
            finally:
                for name, mouth in mouths.items():
                    mouth.clear([attempt.topic for attempt in self._attempts([name]) if attempt.retain])
        return findings

    def _actor(self, name: str) -> Actor:
        return next(one for one in self.actors if one.name == name)

    def _attempts(self, names: Iterable[str]) -> Iterator[Attempt]:
        for name in names:
            for topic in self.topics:
                yield Attempt(name, topic, retain=False)
                yield Attempt(name, topic, retain=True)

    def _connect(self, stack: contextlib.ExitStack, what: str, findings: Findings) -> Iterator[tuple[str, ProbeClient]]:
        for one in self.actors:
            client = ProbeClient(_client_id(what), one.endpoint, one.credentials)
            try:
                client.connect()
            except ConnectRefusedError as error:
                findings.refused[one.name] = str(error)
                continue
            stack.callback(client.close)
            yield one.name, client

    def _listen(self, ears: Mapping[str, ProbeClient], filters: Sequence[str]) -> None:
        for ear in ears.values():
            ear.subscribe(filters)

    def _listen_shared(self, ears: Mapping[str, ProbeClient]) -> None:
        """The same by shared subscriptions, on connections of their own: some brokers cut who tries."""
        for ear in ears.values():
            group = secrets.token_hex(4)  # a group of its own: shared with others it would get only some
            ear.subscribe([f"$share/{group}/{topic}" for topic in ("#", *self.topics)])

    def _end(self, ears: Mapping[str, ProbeClient], mouths: Mapping[str, _Mouth], payload: bytes) -> set[str]:
        awaited = {name: self.ends[name] for name in ears if name in self.ends}
        for writer, topic in sorted(set(awaited.values())):
            if writer in mouths:  # else it was not let in, and who waits for it stays without proof
                mouths[writer].say(topic, payload)
        since = time.monotonic()
        deaf = {name for name in awaited if not ears[name].wait_for_last(payload, since, END_QUIET_S, END_TIMEOUT_S)}
        time.sleep(SETTLE_S)
        return deaf | (set(ears) - set(awaited))

    def _sort(self, ears: Mapping[str, ProbeClient], nonce: str, findings: Findings, *, late: bool) -> None:
        for name, ear in ears.items():
            for message in list(ear.received):
                attempt = _attempt_of(nonce, message)
                if attempt is None:
                    if not message.payload.startswith(nonce.encode()):
                        findings.strange.add((message.topic, name))
                elif late:
                    findings.kept.add((attempt, name))
                else:
                    findings.deliveries.add((attempt, name))


class _Mouth:
    """Publishes for one actor. A broker may cut who tries something forbidden: then one at a time, over again."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._client: ProbeClient | None = None
        self._planned: list[tuple[Attempt, bytes]] = []

    def add(self, attempt: Attempt, payload: bytes) -> None:
        self._planned.append((attempt, payload))

    def speak(self) -> set[Attempt]:
        taken = self._publish([(attempt.topic, payload, attempt.retain) for attempt, payload in self._planned])
        return {attempt for (attempt, _), yes in zip(self._planned, taken, strict=True) if yes}

    def say(self, topic: str, payload: bytes) -> None:
        self._publish([(topic, payload, False)])

    def clear(self, topics: Sequence[str]) -> None:
        with contextlib.suppress(ConnectRefusedError):
            self._publish([(topic, b"", True) for topic in topics])

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _publish(self, messages: Sequence[tuple[str, bytes, bool]]) -> list[bool]:
        taken = self._connected().publish(messages)
        if self._client is not None and self._client.ended:
            taken = [self._connected().publish([message])[0] for message in messages]
        return taken

    def _connected(self) -> ProbeClient:
        if self._client is None or self._client.ended:
            self.close()
            self._client = ProbeClient(_client_id("mouth"), self._actor.endpoint, self._actor.credentials)
            self._client.connect()
        return self._client


def _client_id(what: str) -> str:
    return client_ids.unguessable(f"probe-{what}")


def _payload(nonce: str, attempt: Attempt) -> bytes:
    return f"{nonce}|{attempt.writer}|{int(attempt.retain)}|{attempt.topic}".encode()


def _attempt_of(nonce: str, message: Received) -> Attempt | None:
    parts = message.payload.decode(errors="replace").split("|", 3)
    if len(parts) != 4 or parts[0] != nonce:
        return None
    return Attempt(parts[1], parts[3], parts[2] == "1")
