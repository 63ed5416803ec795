"""A whole mesh for tests: its folder, the product's own broker under mutual TLS, and the operator's service."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.access import ClaimLogin, People, UserLogin
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_config import Listeners, MosquittoConfig, installed_program
from broker.mosquitto_files import MosquittoFiles, ServerFiles
from broker.passwords import hash_password
from edge_agent.wire.topics import OPERATOR_ID, Channel, claim_login
from provisioning.authority import utc_now
from provisioning.certificates import DEVICE_LIFETIME
from provisioning.identity_store import IdentityStore
from provisioning.link import Connect
from provisioning.mesh import Invitation, MeshFolder, MeshSettings
from provisioning.messages import Message, RevocationList, TrustUpdate, encode
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.registrar import Registrar
from provisioning.service import RegistrarService
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import HOST

MESH = "home"
PAUSE_S = 0.1


@dataclass
class Home:
    """One mesh in a folder of its own. Nothing runs until `broker` and `serving` are entered."""

    folder: Path
    passphrase: str | None = None
    lifetime: datetime.timedelta = DEVICE_LIFETIME
    mesh: MeshFolder = field(init=False)

    def __post_init__(self) -> None:
        self.device_port, self.password_port, self.web_port = free_ports(3)
        settings = MeshSettings(MESH, (self.url(self.device_port),), self.url(self.password_port))
        self.mesh = MeshFolder.create(self.folder / "meshes" / MESH, settings, passphrase=self.passphrase)
        self.authority = self.mesh.authority(self.passphrase)
        self.issue_server()

    def url(self, port: int) -> str:
        return f"mqtts://{HOST}:{port}"

    def issue_server(self) -> None:
        """The broker's certificate, anew."""
        identity = self.authority.issue_broker([HOST, "localhost"])
        (self.folder / "broker.pem").write_bytes(identity.certificate_pem)
        key = self.folder / "broker.key"
        key.touch(mode=0o600)
        key.write_bytes(identity.key_pem)

    def people(self) -> People:
        """What the broker's passwords and rights are made of, read from the inventory as it is now."""
        with self.mesh.inventory() as inventory:
            users = tuple(UserLogin(user.name, user.password_hash, user.devices) for user in inventory.users())
            claims = tuple(ClaimLogin(claim.device_id, claim.password_hash) for claim in inventory.open_claims())
        return People(users, claims)

    def broker(self) -> MosquittoBroker:
        folder = self.folder / "broker"
        folder.mkdir(mode=0o700, exist_ok=True)
        listeners = Listeners(HOST, self.device_port, self.password_port, self.web_port, None)
        server = ServerFiles(
            self.folder / "broker.pem", self.folder / "broker.key", self.mesh.ca_file, self.mesh.crl_file
        )
        files = MosquittoFiles(MosquittoConfig(folder, listeners, installed_program()), MESH, server)
        return MosquittoBroker(files, self.people)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The operator's service, in this process."""
        with self.mesh.inventory() as inventory:
            registrar = Registrar(self.mesh.authority(self.passphrase), inventory, lifetime=self.lifetime)
            service = RegistrarService(self.mesh, registrar, inventory, self.operator())
            task = asyncio.create_task(service.run())
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await service.listening.wait()
                yield
                assert not task.done(), task
            finally:
                task.cancel()
                await asyncio.wait([task])

    def operator(self) -> Connect:
        return mqtt_connect(
            BrokerAccess(
                self.url(self.device_port),
                OPERATOR_ID,
                self.mesh.ca_file,
                self.mesh.operator_certificate,
                self.mesh.operator_key,
            )
        )

    def invite(self, device_id: str, **options: float) -> Invitation:
        return self.mesh.invite(device_id, hash_password=hash_password, **options)

    def store(self, device_id: str, invitation: Invitation | None = None) -> IdentityStore:
        """A device's own disk."""
        store = IdentityStore(self.folder / "devices" / device_id / "identity", MESH, device_id)
        store.trust(invitation.bundle_pem if invitation is not None else self.authority.bundle_pem)
        return store

    def claimant(self, invitation: Invitation, store: IdentityStore) -> Connect:
        """How a device connects that has no certificate."""
        login = claim_login(invitation.device_id)
        return mqtt_connect(
            BrokerAccess(
                invitation.claim_broker, f"claim-{login}", store.ca_file, username=login, password=invitation.secret
            )
        )

    def member(self, store: IdentityStore, *, identity: Path | None = None) -> Connect:
        """How a device connects that has one."""
        path = identity or store.identity_file
        return mqtt_connect(BrokerAccess(self.url(self.device_port), store.device_id, store.ca_file, path, path))

    def answer(self, device_id: str, channel: Channel, message: Message | bytes, *, days: float = 0.0) -> Message:
        """What the operator says, `days` from now, to somebody whom no broker's access rules stop."""
        body = message if isinstance(message, bytes) else encode(message)
        with self.mesh.inventory(clock=lambda: in_days(days).timestamp()) as inventory:
            registrar = Registrar(
                self.mesh.authority(self.passphrase), inventory, lifetime=self.lifetime, now=lambda: in_days(days)
            )
            (outgoing,) = registrar.handle(device_id, channel, body)
        assert (outgoing.device_id, outgoing.channel) == (device_id, Channel.CERTIFICATES)
        return outgoing.message

    def take(self, store: IdentityStore, message: Message) -> None:
        """What a device does with what the operator tells it."""
        if isinstance(message, TrustUpdate):
            store.take_bundle(message)
        elif isinstance(message, RevocationList):
            store.take_crl(message.crl)

    def joined(self, device_id: str) -> IdentityStore:
        """A member whose identity came with its seed."""
        store = self.store(device_id)
        store.adopt(self.mesh.enrol(device_id, self.authority))
        return store


def in_days(days: float) -> datetime.datetime:
    """A time from now."""
    return utc_now() + datetime.timedelta(days=days)
