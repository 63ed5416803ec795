"""Who tries what when a broker is checked: devices, operator, users, a claimant, and some who should not be let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from broker.access import ClaimLogin, UserLogin, device_grants, login_grants, operator_grants
from broker.probe import Character, Probe
from broker.probe_client import Badge, Door
from broker.verdict import Member, Verdict, judge
from edge_agent.wire.topics import (
    ANY,
    ANYBODY,
    CLIENT_DEFAULT,
    OPERATOR_ID,
    TABLE,
    Channel,
    claim_login,
    topic_filter,
    user_login,
    written_by,
)

FIRST, SECOND = "device", "other device"
USER, GUEST, CLAIMANT = "user", "user of one device", "unclaimed device"


@final
@dataclass(frozen=True, slots=True)
class Identities:
    """Identities made for the check. `passwords` None leaves out who comes with a password."""

    devices: tuple[tuple[str, Badge], tuple[str, Badge]]
    operator: Badge
    server: Badge | None
    foreign: Badge
    """A certificate in the first device's name from a CA that is not the mesh's."""
    user: tuple[str, Badge] | None = None
    guest: tuple[str, Badge] | None = None
    """A user of the first device only."""
    claimant: tuple[str, Badge] | None = None


@final
@dataclass(frozen=True, slots=True)
class Check:
    """A broker to be checked: where devices come in, and where passwords do; `None` is not to be tried."""

    mesh: str
    door: Door
    password_door: Door | None
    identities: Identities

    def run(self) -> tuple[list[str], list[Verdict]]:
        """Tries everything; returns the topics tried and a verdict for each thing. Blocks for some seconds."""
        members, topics = self.members(), self.topics()
        ends = {one.character.name: one.end for one in members if one.end is not None}
        findings = Probe([one.character for one in members], topics, ends).run()
        return topics, judge(members, topics, findings)

    def members(self) -> list[Member]:
        """Everybody, with what the table grants them."""
        of, door = self.identities, self.door
        (first, first_badge), (second, second_badge) = of.devices
        to_first = written_by(second, self.mesh, first, Channel.REPLIES)
        to_second = written_by(first, self.mesh, second, Channel.REPLIES)
        members = [
            Member(Character(FIRST, door, first_badge), device_grants(self.mesh, first), (SECOND, to_first)),
            Member(Character(SECOND, door, second_badge), device_grants(self.mesh, second), (FIRST, to_second)),
            Member(
                Character(OPERATOR_ID, door, of.operator),
                operator_grants(self.mesh),
                (FIRST, topic_filter(self.mesh, first, Channel.RENEWALS)),
            ),
            Member(Character("stranger without certificate", door, Badge())),
            Member(Character("stranger with a device's name", door, Badge(username=first, password="guess"))),  # noqa: S106 - wrong on purpose
            Member(Character("device of another CA", door, of.foreign)),
        ]
        if of.server is not None:
            members.append(Member(Character("broker's certificate as a client", door, of.server)))
        if door.ca is not None:
            members.append(Member(Character("without TLS", Door(door.host, door.port), Badge())))
        if self.password_door is not None:
            members += self._password_members(self.password_door)
        return members

    def topics(self) -> list[str]:
        """Every topic of the devices tried, and some that no one may use."""
        of = self.identities
        devices = [name for name, _ in of.devices] + ([of.claimant[0]] if of.claimant else [])
        names = self.principals()
        inside = [
            topic_filter(self.mesh, device, channel, name)
            for device in devices
            for channel, row in TABLE.items()
            for name in (names if row.levels else names[:1])
        ]
        inside = [topic.replace(f"/{ANY}", f"/{CLIENT_DEFAULT}") for topic in inside]  # the client: no matter which
        first = of.devices[0][0]
        own = topic_filter(self.mesh, first, Channel.PROMPTS, names[-1])
        elsewhere = topic_filter(f"not-{self.mesh}"[:64], first, Channel.PRESENCE)
        return [*inside, f"{own}/more", f"/{own}", elsewhere, "moamesh-check", "$SYS/broker/version"]

    def principals(self) -> list[str]:
        """Everybody by the name that the broker has for them, and who has none."""
        of = self.identities
        people = [user_login(one[0]) for one in (of.user, of.guest) if one is not None]
        claims = [claim_login(of.claimant[0])] if of.claimant is not None else []
        return [*(name for name, _ in of.devices), OPERATOR_ID, *claims, ANYBODY, *people]

    def _password_members(self, door: Door) -> list[Member]:
        of, mesh = self.identities, self.mesh
        first = of.devices[0][0]
        members = [Member(Character("stranger without password", door, Badge()))]
        people: Sequence[tuple[str, tuple[str, Badge] | None, tuple[str, ...] | None]] = (
            (USER, of.user, None),
            (GUEST, of.guest, (first,)),
        )
        for role, identity, devices in people:
            if identity is None:
                continue
            name, badge = identity
            grants = login_grants(mesh, UserLogin(name, "", devices))
            answers = topic_filter(mesh, first, Channel.ANSWERS, user_login(name), CLIENT_DEFAULT)
            members.append(Member(Character(role, door, badge), grants, (FIRST, answers)))
        if of.user is not None:
            wrong = Badge(username=of.user[1].username, password="guess")  # noqa: S106 - wrong on purpose
            members.append(Member(Character("user with a wrong password", door, wrong)))
        if of.claimant is not None:
            device, badge = of.claimant
            certificates = topic_filter(mesh, device, Channel.CERTIFICATES)
            grants = login_grants(mesh, ClaimLogin(device, ""))
            members.append(Member(Character(CLAIMANT, door, badge), grants, (OPERATOR_ID, certificates)))
        return members


def readable(topics: Sequence[str], identities: Identities) -> Mapping[str, str]:
    """Returns each topic with the made-up names replaced by roles, for people to read."""
    names = {identities.devices[0][0]: "DEVICE", identities.devices[1][0]: "OTHER"}
    for role, identity in (("USER", identities.user), ("GUEST", identities.guest), ("UNCLAIMED", identities.claimant)):
        if identity is not None:
            names[identity[0]] = role
            login = claim_login(identity[0]) if role == "UNCLAIMED" else user_login(identity[0])
            names[login] = login.replace(identity[0], role)
    return {topic: "/".join(names.get(level, level) for level in topic.split("/")) for topic in topics}
