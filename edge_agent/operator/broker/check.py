"""Checks a broker with identities made for the purpose, which end with it."""

from __future__ import annotations

import datetime
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.access import ClaimLogin, People, UserLogin
from broker.cast import Check, Identities, readable
from broker.passwords import hash_password
from broker.probe_client import Badge, ConnectRefusedError, Door, ProbeClient
from broker.verdict import Kind, Verdict
from edge_agent.core.errors import SettingsError
from edge_agent.files import PRIVATE, PUBLIC, write_atomically
from edge_agent.mqtt import BrokerLimits
from edge_agent.operator.broker.people import admit_guests
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.authority import Identity, MeshAuthority
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import check_url
from provisioning.proofs import new_secret

LOGIN_TIMEOUT_S = 10.0  # a broker run by moamesh knows its guests within a second
LOGIN_POLL_S = 0.2
_LIFETIME = datetime.timedelta(days=1)  # of the certificates that a check lets sign


@dataclass(frozen=True, slots=True)
class Report:
    """What came out. `untried` says in words what could not be tried; `limits` is what the broker takes at all."""

    url: str
    password_url: str
    mesh: str
    verdicts: tuple[Verdict, ...]
    names: dict[str, str]
    untried: tuple[str, ...]
    limits: BrokerLimits

    def of_kind(self, *kinds: Kind) -> list[Verdict]:
        """The verdicts of some kinds."""
        return [one for one in self.verdicts if one.kind in kinds]

    @property
    def good(self) -> bool:
        """Whether the broker does what the topic table says, as far as it was tried."""
        return not self.of_kind(Kind.LEAK, Kind.MISSING)


def check_broker(mesh: MeshFolder, authority: MeshAuthority, url: str, password_url: str | None) -> Report:
    """Tries the broker at `url` as everybody that the topic table knows. Blocks for some seconds.

    Raises:
        SettingsError: nobody answers there.
        ProvisioningError: a URL is none, or the mesh's files can't be used.
    """
    door = _door(mesh, url)
    passwords = _door(mesh, password_url or mesh.settings.claim_broker)
    with tempfile.TemporaryDirectory(prefix="moamesh-check-") as folder:
        devices, operator, server, foreign = _certificates(Path(folder), authority)
        limits = _must_answer(door, devices[0][1], url)
        with _guests(mesh, devices[0][0]) as (user, guest, claimant):
            untried: list[str] = []
            known = _knows(passwords, user[1])
            if not known:
                untried.append(
                    f"users and claims: {passwords.host}:{passwords.port} does not know the guests of this check; "
                    "it works with `moamesh broker run` on this machine"
                )
            people = (user, guest, claimant) if known else (None, None, None)
            identities = Identities(devices, operator, server, foreign, *people)
            check = Check(mesh.name, door, passwords if known else None, identities)
            topics, verdicts = check.run()
    names = dict(readable(topics, identities))
    return Report(url, f"{passwords.host}:{passwords.port}", mesh.name, tuple(verdicts), names, tuple(untried), limits)


def _door(mesh: MeshFolder, url: str) -> Door:
    host, port, tls = check_url(url)
    return Door(host, port, mesh.ca_file if tls else None, shared=tls)


def _certificates(
    folder: Path, authority: MeshAuthority
) -> tuple[tuple[tuple[str, Badge], tuple[str, Badge]], Badge, Badge, Badge]:
    """Returns two devices, the operator, a broker and a device of another mesh, all good for this check alone."""
    first, second = (f"check-{secrets.token_hex(4)}" for _ in range(2))
    stranger = MeshAuthority.create(folder / "stranger", authority.mesh)
    return (
        (
            (first, _badge(folder, first, authority.issue_device(first, lifetime=_LIFETIME))),
            (second, _badge(folder, second, authority.issue_device(second, lifetime=_LIFETIME))),
        ),
        _badge(folder, OPERATOR_ID, authority.issue_operator(lifetime=_LIFETIME)),
        _badge(folder, "broker", authority.issue_broker(["localhost"], lifetime=_LIFETIME)),
        _badge(folder, first, stranger.issue_device(first), "foreign"),
    )


def _badge(folder: Path, name: str, identity: Identity, file: str = "") -> Badge:
    certificate, key = folder / f"{file or name}.pem", folder / f"{file or name}.key"
    write_atomically(certificate, identity.certificate_pem, PUBLIC, durable=False)
    write_atomically(key, identity.key_pem, PRIVATE, durable=False)
    return Badge(certificate, key, username=name)  # mosquitto overrides the name, ejabberd compares it


@contextmanager
def _guests(mesh: MeshFolder, device: str) -> Iterator[Sequence[tuple[str, Badge]]]:
    """A user of all devices, a user of one, and a device that may claim."""
    names = [f"check-{secrets.token_hex(4)}" for _ in range(3)]
    words = [new_secret() for _ in names]
    hashes = [hash_password(word) for word in words]
    users = (UserLogin(names[0], hashes[0]), UserLogin(names[1], hashes[1], (device,)))
    people = People(users, (ClaimLogin(names[2], hashes[2]),))
    admit_guests(mesh, people, time.time())
    try:
        yield [
            (name, Badge(username=login.login, password=word))
            for name, login, word in zip(names, people.logins, words, strict=True)
        ]
    finally:
        admit_guests(mesh, People(), time.time())


def _must_answer(door: Door, badge: Badge, url: str) -> BrokerLimits:
    try:
        with ProbeClient(f"check-{secrets.token_hex(6)}", door, badge) as client:
            return BrokerLimits.of(client.connack)
    except ConnectRefusedError as error:
        raise SettingsError(f"{url} does not let a device of this mesh in: {error}") from None


def _knows(door: Door, badge: Badge) -> bool:
    end = time.monotonic() + LOGIN_TIMEOUT_S
    while True:
        try:
            with ProbeClient(f"check-{secrets.token_hex(6)}", door, badge):
                return True
        except ConnectRefusedError:
            if time.monotonic() >= end:
                return False
            time.sleep(LOGIN_POLL_S)
