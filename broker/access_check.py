"""Who tries what when a broker is checked: devices, operator, users, a claimant, and some who should not be let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from broker.access import ClaimLogin, UserLogin, device_grants, login_grants, operator_grants
from broker.access_results import CheckResult, Expectation, judge
from broker.probe import Actor, Probe
from broker.probe_client import Credentials, Endpoint
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
WRONG_PASSWORD = "guess"  # noqa: S105 - wrong on purpose
USER, GUEST, CLAIMANT = "user", "user of one device", "unclaimed device"


@final
@dataclass(frozen=True, slots=True)
class Identities:
    """Identities made for the check. `passwords` None leaves out who comes with a password."""

    devices: tuple[tuple[str, Credentials], tuple[str, Credentials]]
    operator: Credentials
    server: Credentials | None
    foreign: Credentials
    """A certificate in the first device's name from a CA that is not the mesh's."""
    user: tuple[str, Credentials] | None = None
    guest: tuple[str, Credentials] | None = None
    """A user of the first device only."""
    claimant: tuple[str, Credentials] | None = None


@final
@dataclass(frozen=True, slots=True)
class Check:
    """A broker to be checked: where devices come in, and where passwords do; `None` is not to be tried."""

    mesh: str
    endpoint: Endpoint
    password_endpoint: Endpoint | None
    identities: Identities

    def run(self) -> tuple[list[str], list[CheckResult]]:
        """Tries everything; returns the topics tried and a result for each thing. Blocks for some seconds."""
        expected_access, topics = self.expected_access(), self.topics()
        ends = {one.actor.name: one.end for one in expected_access if one.end is not None}
        findings = Probe([one.actor for one in expected_access], topics, ends).run()
        return topics, judge(expected_access, topics, findings)

    def expected_access(self) -> list[Expectation]:
        """Everybody, with what the table grants them."""
        of, endpoint = self.identities, self.endpoint
        (first, first_credentials), (second, second_credentials) = of.devices
        to_first = written_by(second, self.mesh, first, Channel.REPLIES)
        to_second = written_by(first, self.mesh, second, Channel.REPLIES)
        expected_access = [
            Expectation(Actor(FIRST, endpoint, first_credentials), device_grants(self.mesh, first), (SECOND, to_first)),
            Expectation(
                Actor(SECOND, endpoint, second_credentials), device_grants(self.mesh, second), (FIRST, to_second)
            ),
            Expectation(
                Actor(OPERATOR_ID, endpoint, of.operator),
                operator_grants(self.mesh),
                (FIRST, topic_filter(self.mesh, first, Channel.RENEWALS)),
            ),
            Expectation(Actor("stranger without certificate", endpoint, Credentials())),
            Expectation(
                Actor("stranger with a device's name", endpoint, Credentials(username=first, password=WRONG_PASSWORD))
            ),
            Expectation(Actor("device of another CA", endpoint, of.foreign)),
        ]
        if of.server is not None:
            expected_access.append(Expectation(Actor("broker's certificate as a client", endpoint, of.server)))
        if endpoint.ca is not None:
            expected_access.append(
                Expectation(Actor("without TLS", Endpoint(endpoint.host, endpoint.port), Credentials()))
            )
        if self.password_endpoint is not None:
            expected_access += self._password_expected_access(self.password_endpoint)
        return expected_access

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

    def _password_expected_access(self, endpoint: Endpoint) -> list[Expectation]:
        of, mesh = self.identities, self.mesh
        first = of.devices[0][0]
        expected_access = [Expectation(Actor("stranger without password", endpoint, Credentials()))]
        people: Sequence[tuple[str, tuple[str, Credentials] | None, tuple[str, ...] | None]] = (
            (USER, of.user, None),
            (GUEST, of.guest, (first,)),
        )
        for role, identity, devices in people:
            if identity is None:
                continue
            name, credentials = identity
            grants = login_grants(mesh, UserLogin(name, "", devices))
            answers = topic_filter(mesh, first, Channel.ANSWERS, user_login(name), CLIENT_DEFAULT)
            expected_access.append(Expectation(Actor(role, endpoint, credentials), grants, (FIRST, answers)))
        if of.user is not None:
            wrong = Credentials(username=of.user[1].username, password=WRONG_PASSWORD)
            expected_access.append(Expectation(Actor("user with a wrong password", endpoint, wrong)))
        if of.claimant is not None:
            device, credentials = of.claimant
            certificates = topic_filter(mesh, device, Channel.CERTIFICATES)
            grants = login_grants(mesh, ClaimLogin(device, ""))
            expected_access.append(
                Expectation(Actor(CLAIMANT, endpoint, credentials), grants, (OPERATOR_ID, certificates))
            )
        return expected_access


def readable(topics: Sequence[str], identities: Identities) -> Mapping[str, str]:
    """Returns each topic with the made-up names replaced by roles, for people to read."""
    names = {identities.devices[0][0]: "DEVICE", identities.devices[1][0]: "OTHER"}
    for role, identity in (("USER", identities.user), ("GUEST", identities.guest), ("UNCLAIMED", identities.claimant)):
        if identity is not None:
            names[identity[0]] = role
            login = claim_login(identity[0]) if role == "UNCLAIMED" else user_login(identity[0])
            names[login] = login.replace(identity[0], role)
    return {topic: "/".join(names.get(level, level) for level in topic.split("/")) for topic in topics}
