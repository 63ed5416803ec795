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
from broker.access_check import Check, Identities, readable
from broker.access_results import CheckResult, Kind
from broker.passwords import hash_password
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
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
    results: tuple[CheckResult, ...]
    names: dict[str, str]
    untried: tuple[str, ...]
    limits: BrokerLimits

    def of_kind(self, *kinds: Kind) -> list[CheckResult]:
        """The results of some kinds."""
        return [one for one in self.results if one.kind in kinds]

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
    endpoint = _endpoint(mesh, url)
    passwords = _endpoint(mesh, password_url or mesh.settings.claim_broker)
    with tempfile.TemporaryDirectory(prefix="moamesh-check-") as folder:
        devices, operator, server, foreign = _certificates(Path(folder), authority)
        limits = _must_answer(endpoint, devices[0][1], url)
        with _guests(mesh, devices[0][0]) as (user, guest, claimant):
            untried: list[str] = []
            known = _knows(passwords, user[1])
            if not known:
                untried.append(
                    f"users and claims: {passwords.host}:{passwords.port} does not know the users made for this check; "
                    "it works with `moamesh broker run` on this machine"
                )
            people = (user, guest, claimant) if known else (None, None, None)
            identities = Identities(devices, operator, server, foreign, *people)
            check = Check(mesh.name, endpoint, passwords if known else None, identities)
            topics, results = check.run()
    names = dict(readable(topics, identities))
    return Report(url, f"{passwords.host}:{passwords.port}", mesh.name, tuple(results), names, tuple(untried), limits)


def _endpoint(mesh: MeshFolder, url: str) -> Endpoint:
    host, port, tls = check_url(url)
    return Endpoint(host, port, mesh.ca_file if tls else None, shared=tls)


def _certificates(
    folder: Path, authority: MeshAuthority
) -> tuple[tuple[tuple[str, Credentials], tuple[str, Credentials]], Credentials, Credentials, Credentials]:
    """Returns two devices, the operator, a broker and a device of another mesh, all good for this check alone."""
    first, second = (f"check-{secrets.token_hex(4)}" for _ in range(2))
    stranger = MeshAuthority.create(folder / "stranger", authority.mesh)
    return (
        (
            (first, _credentials(folder, first, authority.issue_device(first, lifetime=_LIFETIME))),
            (second, _credentials(folder, second, authority.issue_device(second, lifetime=_LIFETIME))),
        ),
        _credentials(folder, OPERATOR_ID, authority.issue_operator(lifetime=_LIFETIME)),
        _credentials(folder, "broker", authority.issue_broker(["localhost"], lifetime=_LIFETIME)),
        _credentials(folder, first, stranger.issue_device(first), "foreign"),
    )


def _credentials(folder: Path, name: str, identity: Identity, file: str = "") -> Credentials:
    certificate, key = folder / f"{file or name}.pem", folder / f"{file or name}.key"
    write_atomically(certificate, identity.certificate_pem, PUBLIC, durable=False)
    write_atomically(key, identity.key_pem, PRIVATE, durable=False)
    return Credentials(certificate, key, username=name)  # mosquitto overrides the name, ejabberd compares it


@contextmanager
def _guests(mesh: MeshFolder, device: str) -> Iterator[Sequence[tuple[str, Credentials]]]:
    """A user of all devices, a user of one, and a device that may claim."""
    names = [f"check-{secrets.token_hex(4)}" for _ in range(3)]
    words = [new_secret() for _ in names]
    hashes = [hash_password(word) for word in words]
    users = (UserLogin(names[0], hashes[0]), UserLogin(names[1], hashes[1], (device,)))
    people = People(users, (ClaimLogin(names[2], hashes[2]),))
    admit_guests(mesh, people, time.time())
    try:
        yield [
            (name, Credentials(username=login.login, password=word))
            for name, login, word in zip(names, people.logins, words, strict=True)
        ]
    finally:
        admit_guests(mesh, People(), time.time())


def _must_answer(endpoint: Endpoint, credentials: Credentials, url: str) -> BrokerLimits:
    try:
        with ProbeClient(f"check-{secrets.token_hex(6)}", endpoint, credentials) as client:
            return BrokerLimits.of(client.connack)
    except ConnectRefusedError as error:
        raise SettingsError(f"{url} does not let a device of this mesh in: {error}") from None


def _knows(endpoint: Endpoint, credentials: Credentials) -> bool:
    end = time.monotonic() + LOGIN_TIMEOUT_S
    while True:
        try:
            with ProbeClient(f"check-{secrets.token_hex(6)}", endpoint, credentials):
                return True
        except ConnectRefusedError:
            if time.monotonic() >= end:
                return False
            time.sleep(LOGIN_POLL_S)
