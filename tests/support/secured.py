"""A mesh with its CA and identities, and brokers that demand them, on free loopback ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from broker.access import ClaimLogin, People, UserLogin
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_config import Listeners, MosquittoConfig, installed_program
from broker.mosquitto_files import MosquittoFiles, ServerFiles
from broker.passwords import hash_password
from broker.per_device import DeviceBroker
from broker.probe_client import Credentials, Endpoint
from provisioning.authority import Identity, MeshAuthority
from tests.support.ports import free_ports

HOST = "127.0.0.1"


@dataclass
class SecuredMesh:
    """The operator's side of a mesh in a folder: its CA, and everybody's files."""

    folder: Path
    name: str = "home"
    people: People = field(default_factory=People)
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.authority = MeshAuthority.create(self.folder / "ca", self.name)
        self.server = self._files(self.authority.issue_broker(["localhost", HOST]), "broker")

    @property
    def ca(self) -> Path:
        """The trusted certificates."""
        return self.folder / "ca" / "ca.pem"

    @property
    def crl(self) -> Path:
        """The revocation list."""
        return self.folder / "ca" / "crl.pem"

    def device(self, name: str) -> Credentials:
        """A device's certificate, made at the first call."""
        path = self.folder / f"{name}.pem"
        if path.exists():
            return Credentials(path, path.with_suffix(".key"), username=name)
        return self._files(self.authority.issue_device(name, [HOST]), name)

    def operator(self) -> Credentials:
        """The operator's certificate."""
        return self._files(self.authority.issue_operator(), "operator")

    def user(self, name: str, devices: tuple[str, ...] | None = None) -> Credentials:
        """A user with a password that the broker knows."""
        secret = f"secret of {name}"
        login = UserLogin(name, hash_password(secret), devices)
        self.people = People((*self.people.users, login), self.people.claims)
        return Credentials(username=login.login, password=secret)

    def claim(self, device: str) -> Credentials:
        """A device that has no certificate yet."""
        secret = f"claim of {device}"
        login = ClaimLogin(device, hash_password(secret))
        self.people = People(self.people.users, (*self.people.claims, login))
        return Credentials(username=login.login, password=secret)

    def revoke(self, credentials: Credentials) -> None:
        """Puts a certificate on the revocation list."""
        from cryptography import x509

        assert credentials.certificate is not None
        self.authority.revoke([x509.load_pem_x509_certificate(credentials.certificate.read_bytes()).serial_number])

    def broker(self, folder: Path, *, web: bool = False, plain: bool = False) -> MosquittoBroker:
        """A broker that all devices share, not started yet."""
        return MosquittoBroker(self.broker_files(folder, web=web, plain=plain), lambda: self.people)

    def broker_files(self, folder: Path, *, web: bool = False, plain: bool = False) -> MosquittoFiles:
        """Its files."""
        ports = free_ports(4)
        listeners = Listeners(HOST, ports[0], ports[1], ports[2] if web else None, ports[3] if plain else None)
        config = MosquittoConfig(folder, listeners, installed_program())
        credentials = self.server
        assert credentials.certificate is not None
        assert credentials.key is not None
        return MosquittoFiles(
            config, self.name, ServerFiles(credentials.certificate, credentials.key, self.ca, self.crl)
        )

    def device_broker(self, name: str, *, plain: bool = False, web_port: int | None = None) -> DeviceBroker:
        """One device's own broker, not started yet."""
        credentials = self.device(name)
        assert credentials.certificate is not None
        assert credentials.key is not None
        port, plain_port = free_ports(2)
        return DeviceBroker(
            self.folder / f"{name}-broker",
            name,
            self.name,
            credentials.certificate,
            credentials.key,
            self.ca,
            self.crl,
            HOST,
            port,
            plain_port=plain_port if plain else None,
            web_port=web_port,
            people=lambda: self.people,
        )

    def endpoint(self, port: int, **options: bool) -> Endpoint:
        """Where to connect."""
        return Endpoint(HOST, port, self.ca, **options)

    def _files(self, identity: Identity, name: str) -> Credentials:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(identity.certificate_pem)
        key.write_bytes(identity.key_pem)
        key.chmod(0o600)
        return Credentials(certificate, key, username=name)  # mosquitto overrides the name, ejabberd compares it
