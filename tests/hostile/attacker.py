"""`python -m tests.hostile.attacker FILE`: somebody hostile, as a process of its own. FILE says who, in JSON.

A peer has a device's certificate, a user has a login, a stranger has neither and is on the same machine. Each says
every kind of message on every topic of every device, in its own name and in others'; replays what it hears; floods; and
never finishes what it began. It ends when it has done its rounds, and prints what came of it in one line of JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import secrets
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient, Received
from edge_agent.adapters.notary import FileNotary, MemberFiles
from edge_agent.core import messages as m
from edge_agent.core.errors import ProtocolError
from edge_agent.core.states import ItemOutcome
from edge_agent.wire import topics
from edge_agent.wire.codec import BODY_BYTES_MAX, decode, encode
from edge_agent.wire.statements import statement
from edge_agent.wire.topics import TABLE, Channel, Level
from tests.hostile import valid

FLOOD = 150  # prompts or requests at once: several times what a device's queue and a principal's share hold
HALF_OPEN = 60  # connections of a stranger that never finish
REPLAYED = 60
ROUNDS_MAX = 100
CONNECT_5 = bytes.fromhex("10160004 4d515454 05c2003c 00 0007 68617468616c66 0000".replace(" ", ""))
_Message = tuple[str, bytes, bool]


@dataclass
class Plan:
    """Who attacks whom, from where. `certificate` and `key`, or `username` and `password`, or nothing."""

    kind: str
    name: str
    mesh: str
    devices: list[str]
    others: list[str]
    """Principals in whose name it speaks as well."""
    ports: list[int]
    endpoint: int
    ca: str
    rounds: int
    seed: str
    certificate: str = ""
    key: str = ""
    crl: str = ""
    username: str = ""
    password: str = ""


@dataclass
class Done:
    """What came of it."""

    sent: int = 0
    taken: int = 0
    refused_in_words: int = 0
    connections: int = 0
    leaked: list[str] = field(default_factory=list)
    """Topics of others that it heard of."""
    answered_for: int = 0
    """Requests of others that it answered, with lies."""
    told_lies: int = 0


class Attacker:
    """One hostile principal."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.done = Done()
        self.rng = random.Random(plan.seed)
        self._client: ProbeClient | None = None

    def run(self) -> Done:
        """Does its rounds."""
        for number in range(self.plan.rounds):
            if self.plan.kind == "stranger":
                self._stand_at_the_endpoints()
                continue
            self._publish([*self._lies(number)])
            self._publish([*self._everything_everywhere()])
            self._publish([*self._lies(number + ROUNDS_MAX)])
            self._publish([*self._flood(number)])
            self._publish([*self._large_ones()])
            self._publish([*self._replays()])
            self._publish([*self._words_for_others()])
            self._subscribe_to_everything()
        self._look_for_leaks()
        return self.done

    # --- with a name ----------------------------------------------------------------------------------------------

    def _topics(self) -> Iterator[tuple[str, Channel]]:
        for device in self.plan.devices:
            for channel, row in TABLE.items():
                if Level.SENDER in row.levels:
                    for sender in (self.plan.name, *self.plan.others):
                        yield topics.build(self.plan.mesh, device, channel, sender), channel
                elif row.levels:
                    for reader in (self.plan.name, *self.plan.others):
                        yield topics.build(self.plan.mesh, device, channel, reader, "0"), channel
                else:
                    yield topics.build(self.plan.mesh, device, channel), channel

    def _everything_everywhere(self) -> Iterator[_Message]:
        """Every kind at least once on every topic; one of them retained, cleared at the end by who cleans up."""
        for topic, channel in self._topics():
            own = channel in (Channel.PROMPTS, Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP, Channel.PRESENCE)
            for kind in valid.KINDS if own else (self.rng.choice(valid.KINDS),):
                yield topic, encode(self._as_me(valid.message(self.rng, kind))), False
        for device in self.plan.devices:
            yield self._own(device, Channel.PROMPTS), encode(self._prompt("kept")), True

    def _lies(self, beat: int) -> Iterator[_Message]:
        """A peer that is idle and the quickest of all, by its own signed word; old words of others, and their words
        with another home, under their own old proof or under this one's."""
        plan = self.plan
        known = {entry.device_id: entry for entry in self._entries_heard() if entry.device_id != plan.name}
        if plan.kind != "peer" or not known:
            return
        files = MemberFiles(Path(plan.ca), Path(plan.crl), Path(plan.certificate), Path(plan.key))
        notary = FileNotary(plan.mesh, plan.name, files)

        def signed(entry: m.PeerEntry) -> m.PeerEntry:
            return dataclasses.replace(entry, proof=notary.sign(statement(plan.mesh, entry)))

        home = next(iter(known.values())).home_broker
        me = signed(m.PeerEntry(plan.name, home, "m", "f", 2**40, beat, 0, 1e-6))
        presence = m.Presence(me, m.PresenceState.ONLINE, 32, "1", notary.certificate())
        yield self._own(plan.name, Channel.PRESENCE), encode(presence), False
        self.done.told_lies += 1
        moved = [
            dataclasses.replace(entry, home_broker="mqtts://mallory.local:8883", incarnation=2**53 - 1)
            for entry in known.values()
        ]
        for device in plan.devices:
            for others in (list(known.values()), moved, [signed(entry) for entry in moved]):
                exchange = m.ViewExchange((me, *others), reply_wanted=True)
                yield self._own(device, Channel.GOSSIP), encode(exchange), False

    def _entries_heard(self) -> Iterator[m.PeerEntry]:
        for message in list(self._connected().received):
            with contextlib.suppress(ProtocolError):
                presence = decode(message.payload, (m.Presence,))
                if isinstance(presence, m.Presence):
                    yield presence.entry

    def _as_me(self, message: Any) -> Any:
        """The same in this principal's own name, where a message says one."""
        if isinstance(message, m.ViewExchange):
            idle = dataclasses.replace(message.entries[0], device_id=self.plan.name, requests_waiting=0)
            crowd = [
                dataclasses.replace(message.entries[-1], device_id=self.rng.choice((*self.plan.others, f"x{number}")))
                for number in range(30)
            ]
            return dataclasses.replace(message, entries=(idle, *crowd))
        if isinstance(message, m.Presence):
            about = self.rng.choice(self.plan.devices)
            return dataclasses.replace(message, entry=dataclasses.replace(message.entry, device_id=about))
        for name in ("origin", "device_id"):
            if hasattr(message, name):
                return dataclasses.replace(message, **{name: self.plan.name})
        if isinstance(message, m.ProposalResponse):
            work = dataclasses.replace(message.contribution, device_id=self.plan.name)
            return dataclasses.replace(message, contribution=work)
        return message

    def _prompt(self, prompt_id: str, text: str = "why?") -> m.Prompt:
        options = m.PromptOptions(layers=2, fanout=4, deadline_s=3_600.0)
        return m.Prompt(prompt_id, (m.ChatMessage(m.Role.USER, text),), options)

    def _flood(self, number: int) -> Iterator[_Message]:
        for count in range(FLOOD):
            device = self.plan.devices[count % len(self.plan.devices)]
            if self.plan.kind == "user":
                yield self._own(device, Channel.PROMPTS), encode(self._prompt(f"flood {number} {count}")), False
            else:
                chat = (m.ChatMessage(m.Role.USER, "why?"),)
                request = m.ProposalRequest(
                    secrets.token_hex(16), self.plan.name, "", 1, chat, (), m.Sampling(), 3_600.0
                )
                yield self._own(device, Channel.PROPOSALS), encode(request), False

    def _large_ones(self) -> Iterator[_Message]:
        """Of every Unicode plane a message that just fits, and one that does not."""
        for plane, letter in enumerate(valid.PLANES):
            device = self.plan.devices[plane % len(self.plan.devices)]
            for room in (BODY_BYTES_MAX - 2_000, BODY_BYTES_MAX + 100):
                body = encode(self._prompt(f"large {plane} {room}", letter * (room // len(letter.encode()))))
                channel = Channel.PROMPTS if self.plan.kind == "user" else Channel.GOSSIP
                yield self._own(device, channel), body, False

    def _replays(self) -> Iterator[_Message]:
        heard = self._connected().received
        for message in self.rng.sample(heard, min(REPLAYED, len(heard))):
            yield message.topic, message.payload, False
            address = topics.parse(message.topic)
            for device in self.plan.devices:
                if address is not None and Level.SENDER in TABLE[address.channel].levels:
                    yield self._own(device, address.channel), message.payload, False

    def _words_for_others(self) -> Iterator[_Message]:
        """Cancels and replies about what is others': of prompts that it knows the ids of, of requests it was asked."""
        for device in self.plan.devices:
            for number in range(8):
                cancel = encode(m.PromptCancel(f"honest-{number}"))
                for principal in (self.plan.name, *self.plan.others):
                    yield topics.build(self.plan.mesh, device, Channel.PROMPTS, principal), cancel, False
        for request in self._asked_of_me():
            work = m.Contribution(self.plan.name, "liar", 0.0, 0.0, 0, 0)
            receipt = m.RequestReceipt(request.request_id, self.plan.name, None, 0, 0.0)
            text = "\U0001f4a3\0\x1b[2J" * 1_000
            response = m.ProposalResponse(request.request_id, ItemOutcome.COMPLETED, text, "", work)
            self.done.answered_for += 1
            for device in self.plan.devices:
                for message in (receipt, receipt, response, response):
                    yield self._own(device, Channel.REPLIES), encode(message), False

    def _asked_of_me(self) -> list[m.ProposalRequest]:
        found = []
        for message in list(self._connected().received):
            with contextlib.suppress(Exception):  # whatever it heard
                body = json.loads(message.payload)
                if body["type"] == "proposal-request" and body["origin"] != self.plan.name:
                    chat = (m.ChatMessage(m.Role.USER, "x"),)
                    found.append(
                        m.ProposalRequest(body["request_id"], body["origin"], "", 1, chat, (), m.Sampling(), None)
                    )
        return found[-20:]

    def _own(self, device: str, channel: Channel) -> str:
        return topics.written_by(self.plan.name, self.plan.mesh, device, channel)

    def _subscribe_to_everything(self) -> None:
        filters = [
            "#",
            "+/#",
            "$SYS/#",
            f"{topics.ROOT}/+/devices/+/+/+/+",
            *(f"x/{number}/#" for number in range(300)),
        ]
        filters += [topic for topic, _ in self._topics()]
        self._connected().subscribe(filters)

    def _look_for_leaks(self) -> None:
        for message in self._client.received if self._client else ():
            if self._is_leak(message):
                self.done.leaked.append(message.topic)
            elif b"prompt-refusal" in message.payload or b'"busy":"' in message.payload:
                self.done.refused_in_words += 1
        if self._client is not None:
            self._publish([(self._own(device, Channel.PROMPTS), b"", True) for device in self.plan.devices])
            self._client.close()

    def _is_leak(self, message: Received) -> bool:
        """By the design's words: presence is everybody's, status the users', the rest is whose name or device it is."""
        address = topics.parse(message.topic)
        if address is None:
            return True
        if address.channel is Channel.PRESENCE or (address.channel is Channel.STATUS and self.plan.kind == "user"):
            return False
        if address.channel is Channel.ANSWERS:
            return address.principal != self.plan.name
        return address.device != self.plan.name

    def _publish(self, messages: list[_Message]) -> None:
        """In portions; a broker that cuts who sends too much is connected to again."""
        for at in range(0, len(messages), 200):
            try:
                taken = self._connected().publish(messages[at : at + 200])
            except ConnectRefusedError:
                taken = []
            self.done.sent += len(messages[at : at + 200])
            self.done.taken += sum(taken)

    def _connected(self) -> ProbeClient:
        if self._client is None or self._client.ended:
            plan = self.plan
            credentials = Credentials(username=plan.username, password=plan.password)
            if plan.certificate:
                credentials = Credentials(Path(plan.certificate), Path(plan.key), username=plan.name)
            heard = self._client.received if self._client is not None else []
            self._client = ProbeClient(
                f"hostile-{secrets.token_hex(4)}", Endpoint("127.0.0.1", plan.endpoint, Path(plan.ca)), credentials
            )
            self._client.received += heard
            self._client.connect()
            self._client.subscribe([f"{topics.ROOT}/{plan.mesh}/#"])
            self.done.connections += 1
        return self._client

    # --- without one ----------------------------------------------------------------------------------------------

    def _stand_at_the_endpoints(self) -> None:
        """Connections that say nothing, half a CONNECT, a CONNECT without rights, or noise, and are kept open."""
        context = ssl.create_default_context(cafile=self.plan.ca)
        context.check_hostname = False
        with contextlib.ExitStack() as kept:
            for number in range(HALF_OPEN):
                with contextlib.suppress(OSError):
                    one = kept.enter_context(
                        socket.create_connection(("127.0.0.1", self.plan.ports[number % len(self.plan.ports)]))
                    )
                    self.done.connections += 1
                    said = (b"", b"\x16\x03\x01", CONNECT_5, self.rng.randbytes(500))[number % 4]
                    if number % 8 >= 4:
                        one = kept.enter_context(context.wrap_socket(one))
                    one.sendall(said)
                    self.done.sent += 1
            for port in self.plan.ports:
                for name in (*self.plan.others, "user.mallory", "operator", "%u", "#", ""):
                    credentials = Credentials(username=name or None, password="guess")
                    with (
                        contextlib.suppress(ConnectRefusedError),
                        ProbeClient(secrets.token_hex(4), Endpoint("127.0.0.1", port, Path(self.plan.ca)), credentials),
                    ):
                        self.done.leaked.append(f"let in at {port} as {name!r}")


def main() -> int:
    """Runs the plan in the file that is named."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(json.dumps(dataclasses.asdict(Attacker(plan).run())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
