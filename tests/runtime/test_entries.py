"""A member that lies about another one, on a real broker with certificates: nobody believes it (cases.md, B1)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.notary import FileNotary, MemberFiles
from edge_agent.core.incarnations import INCARNATION_MAX
from edge_agent.core.messages import PeerEntry, Presence, PresenceState, SignersTold, SignersWanted, ViewExchange
from edge_agent.mqtt import TlsFiles, open_client
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire import topics
from edge_agent.wire.codec import decode, encode
from edge_agent.wire.statements import statement
from edge_agent.wire.topics import Channel
from provisioning.authority import Identity
from tests.adapters.test_notary import certificate_of, of_web, proof_by
from tests.support.brokers import mosquitto  # noqa: F401 - a fixture
from tests.support.hosts import MESH, Device, make_device
from tests.support.polling import until
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker

EVIL = "mqtts://mallory.local:8883"


@dataclass
class Liar:
    """A member, by a plain client: it says what a real one would never say, on its own topics."""

    client: aiomqtt.Client
    notary: FileNotary | None
    heartbeat: int = 1
    certificates: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    """Fingerprints of certificates that it was asked for and has told."""

    async def answer(self) -> None:
        """Tells whoever asks the certificate behind an entry, as an honest carrier does."""
        async for message in self.client.messages:
            asked = decode(bytes(message.payload))  # type: ignore[arg-type]  # bytes, by aiomqtt's default
            if isinstance(asked, SignersWanted) and (found := self.certificates.keys() & asked.fingerprints):
                topic = topics.written_by("mallory", MESH, asked.device_id, Channel.GOSSIP)
                told = SignersTold("mallory", tuple(self.certificates[name] for name in found))
                await self.client.publish(topic, encode(told), qos=1)
                self.told |= found

    def own(self) -> PeerEntry:
        self.heartbeat += 1
        entry = PeerEntry("mallory", "", "m", "f", 5, self.heartbeat, 0, 1.0)
        return entry if self.notary is None else replace(entry, proof=sign(self.notary, entry))

    async def introduce(self) -> None:
        certificate = "" if self.notary is None else self.notary.certificate()
        presence = Presence(self.own(), PresenceState.ONLINE, 8, "1", certificate)
        topic = topics.build(MESH, "mallory", Channel.PRESENCE)
        await self.client.publish(topic, encode(presence), qos=1, retain=True)

    async def gossip(self, to: Device, *lies: PeerEntry, first: PeerEntry | None = None) -> None:
        topic = topics.written_by("mallory", MESH, to.name, Channel.GOSSIP)
        message = ViewExchange((first or self.own(), *lies), reply_wanted=False)
        await self.client.publish(topic, encode(message), qos=1)

    async def is_heard(self, by: Device) -> None:
        """What was sent before this has been taken in."""
        await self.gossip(by)
        await until(lambda: word_of(by, "mallory").heartbeat >= self.heartbeat, "mallory's own word still counts")


@dataclass
class Mesh(SecuredMesh):
    """Its broker and its TLS know an older revocation list than its notaries: what counts here is what is signed."""

    @property
    def crl(self) -> Path:
        """As it was in the beginning."""
        return self.folder / "old-crl.pem"


@dataclass
class World:
    """Two honest devices and a liar."""

    mesh: SecuredMesh
    kitchen: Device
    attic: Device
    liar: Liar
    notaries: dict[str, FileNotary]
    stolen: Identity
    """A former certificate of the kitchen's with its key, revoked since."""


def sign(notary: FileNotary, entry: PeerEntry, mesh: str = MESH) -> str:
    return notary.sign(statement(mesh, replace(entry, proof="")))


def word_of(device: Device, name: str) -> PeerEntry:
    row = device.agent.view.get(name)
    return row.word if row is not None else PeerEntry(name, "?", "", "", 0, -1, 0, None)


def notary_of(mesh: SecuredMesh, name: str) -> FileNotary:
    credentials = mesh.device(name)
    assert credentials.certificate is not None
    assert credentials.key is not None
    return FileNotary(
        mesh.name, name, MemberFiles(mesh.ca, mesh.ca.with_name("crl.pem"), credentials.certificate, credentials.key)
    )


@contextlib.asynccontextmanager
async def world_at(folder: Path) -> AsyncIterator[World]:
    mesh = Mesh(folder, MESH)
    mesh.crl.write_bytes(mesh.ca.with_name("crl.pem").read_bytes())
    stolen = mesh.authority.issue_device("kitchen")
    mesh.authority.revoke([x509.load_pem_x509_certificate(stolen.certificate_pem).serial_number])
    notaries = {name: notary_of(mesh, name) for name in ("kitchen", "attic", "mallory")}

    def tls(name: str) -> TlsFiles:
        credentials = mesh.device(name)
        return TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key), str(mesh.crl))

    def transport(settings: MqttSettings) -> MqttTransport:
        name = settings.device_id
        return MqttTransport(replace(settings, tls=tls(name)), notary=notaries[name])

    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(mesh.broker(folder / "broker"))
        url = f"mqtts://127.0.0.1:{broker.port}"
        devices = [make_device(name, url, folder, make_transport=transport) for name in ("kitchen", "attic")]
        for device in devices:
            device.task = asyncio.create_task(device.host.run())
            stack.push_async_callback(device.stop)
        client = await stack.enter_async_context(open_client(url, client_id="mallory", tls=tls("mallory")))
        await client.subscribe(topics.topic_filter(MESH, "mallory", Channel.GOSSIP))
        kitchen, attic = devices
        liar = Liar(client, notaries["mallory"])
        answering = TaskSupervisor("mallory")
        answering.begin("answers", liar.answer())
        stack.push_async_callback(answering.stop)
        yield await introduced(World(mesh, kitchen, attic, liar, notaries, stolen))


async def introduced(world: World) -> World:
    await world.liar.introduce()
    for one, other in ((world.kitchen, "attic"), (world.attic, "kitchen")):
        await until(lambda one=one, other=other: one.agent.view.get(other), f"{one.name} knows {other}")  # type: ignore[misc]  # bound now
        await until(lambda one=one: one.agent.view.get("mallory"), f"{one.name} knows mallory")  # type: ignore[misc]  # bound now
    return world


Lie = Callable[[World, PeerEntry], PeerEntry]


def signed_by_itself(world: World, entry: PeerEntry) -> PeerEntry:
    return replace(entry, proof=sign(world.notaries["mallory"], entry))


def by(make: Callable[[SecuredMesh], Identity], entry: PeerEntry, world: World) -> PeerEntry:
    """Signed with the key of any certificate of the mesh, whatever for; the liar tells that certificate."""
    identity = make(world.mesh)
    proof = proof_by(identity, statement(MESH, replace(entry, proof="")))
    world.liar.certificates[proof[:16]] = certificate_of(identity)
    return replace(entry, proof=proof)


LIES: dict[str, Lie] = {
    "another home": lambda world, true: replace(true, home_broker=EVIL, heartbeat=true.heartbeat + 100),
    "the highest incarnation": lambda world, true: replace(true, incarnation=INCARNATION_MAX),
    "another home, signed by the liar": lambda world, true: signed_by_itself(
        world, replace(true, home_broker=EVIL, incarnation=true.incarnation + 1)
    ),
    "another home, with no signature": lambda world, true: replace(
        true, home_broker=EVIL, incarnation=true.incarnation + 1, proof=""
    ),
    "no load at all": lambda world, true: replace(
        true, requests_waiting=0, service_time_s_mean=0.0, heartbeat=true.heartbeat + 100
    ),
    "a load that nobody asks": lambda world, true: replace(
        true, requests_waiting=10**6, able=False, heartbeat=true.heartbeat + 100
    ),
    "another model": lambda world, true: replace(true, model="gpt", model_family="f", heartbeat=true.heartbeat + 100),
    "swapped fields": lambda world, true: replace(
        true, model=true.model_family, model_family=true.model, heartbeat=true.heartbeat + 100
    ),
    "its own entry under another name": lambda world, true: replace(
        signed_by_itself(world, replace(true, device_id="mallory", home_broker=EVIL, heartbeat=true.heartbeat + 100)),
        device_id="kitchen",
    ),
    "signed for another mesh": lambda world, true: replace(
        true,
        heartbeat=true.heartbeat + 100,
        proof=sign(world.notaries["kitchen"], replace(true, heartbeat=true.heartbeat + 100), "cabin"),
    ),
    "signed by the operator": lambda world, true: by(
        lambda mesh: mesh.authority.issue_operator(), replace(true, home_broker=EVIL, heartbeat=10**6), world
    ),
    "signed by a web page of that name": lambda world, true: by(
        lambda mesh: of_web(mesh.folder, "kitchen", as_device=True),
        replace(true, home_broker=EVIL, heartbeat=10**6),
        world,
    ),
    "signed by a revoked card of that name": lambda world, true: by(
        lambda mesh: world.stolen, replace(true, home_broker=EVIL, heartbeat=10**6), world
    ),
    "a word of its youth": lambda world, true: replace(
        true, heartbeat=0, proof=sign(world.notaries["kitchen"], replace(true, heartbeat=0))
    ),
}


async def test_a_lie_about_another_device_changes_nothing(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        for what, lie in LIES.items():
            await check_unmoved(world, what, lie)


async def check_unmoved(world: World, what: str, lie: Lie) -> None:
    true = world.kitchen.agent.last_will().entry
    forged = lie(world, word_of(world.attic, "kitchen"))
    # what a former self of a device said it does not believe but outdo, though it came by a thief
    for hearer in (world.attic,) if "revoked" in what else (world.attic, world.kitchen):
        await world.liar.gossip(hearer, forged)
        await world.liar.is_heard(by=hearer)
    if (fingerprint := forged.proof[:16]) in world.liar.certificates:
        await until(lambda: fingerprint in world.liar.told, "the certificate behind the lie is asked for")
        await world.liar.is_heard(by=world.attic)
    row = world.attic.agent.view.get("kitchen")
    assert row is not None, what
    assert (row.word.home_broker, row.word.model, row.word.model_family) == ("", true.model, true.model_family), what
    assert row.word.incarnation == true.incarnation == world.kitchen.agent.last_will().entry.incarnation, what
    assert row.word.heartbeat <= world.kitchen.agent.last_will().entry.heartbeat, what
    assert (row.entry.able, row.entry.requests_waiting, row.entry.service_time_s_mean) == (True, 0, None), what
    heard = row.word.heartbeat
    await until(lambda: word_of(world.attic, "kitchen").heartbeat > heard, f"{what}: its own word goes on counting")


async def test_nobody_speaks_in_the_name_of_another_in_the_first_place(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        true = word_of(world.attic, "kitchen")
        before = world.attic.transport.counters.bad
        await world.liar.gossip(world.attic, first=replace(true, home_broker=EVIL))
        await world.liar.gossip(world.attic, first=signed_by_itself(world, replace(true, home_broker=EVIL)))
        await until(lambda: world.attic.transport.counters.bad >= before + 2, "both are counted")
        assert word_of(world.attic, "kitchen").home_broker == ""
        await world.liar.is_heard(by=world.attic)


async def test_a_revoked_device_s_word_counts_no_more_whoever_carries_it(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        world.mesh.revoke(world.mesh.device("mallory"))

        async def says(heartbeat: int) -> None:
            entry = PeerEntry("mallory", "", "m", "f", 5, heartbeat, 0, 1.0)
            await world.liar.gossip(world.attic, first=replace(entry, proof=sign(world.notaries["mallory"], entry)))

        number = 1000
        while world.attic.transport.counters.entries_refused == 0:  # the list is looked at once a second
            number += 1
            await says(number)
            await asyncio.sleep(0.05)
        told = word_of(world.attic, "mallory").heartbeat
        await says(10**6)
        refused = world.attic.transport.counters.entries_refused
        await until(lambda: world.attic.transport.counters.entries_refused > refused, "refused")
        assert word_of(world.attic, "mallory").heartbeat == told


async def test_without_certificates_the_lie_lands_and_is_outdone(
    mosquitto: EmbeddedBroker,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    """What an open mesh does not protect (SECURITY.md); but nobody has the last word about another there either."""
    async with contextlib.AsyncExitStack() as stack:
        devices = [make_device(name, mosquitto.url, tmp_path) for name in ("kitchen", "attic")]
        for device in devices:
            device.task = asyncio.create_task(device.host.run())
            stack.push_async_callback(device.stop)
        client = await stack.enter_async_context(open_client(mosquitto.url, client_id="mallory"))
        kitchen, attic = devices
        world = await introduced(World(None, kitchen, attic, Liar(client, None), {}, None))  # type: ignore[arg-type]  # no certificates
        for further in (1, 2**52 - 1, 2**52 - 1):  # the furthest that is newer; twice, and the numbers have gone round
            true = word_of(attic, "kitchen")
            incarnation = (true.incarnation + further) % (INCARNATION_MAX + 1)
            await world.liar.gossip(attic, replace(true, model="lie", incarnation=incarnation, heartbeat=2**53))
            outdone = (incarnation + 1) % (INCARNATION_MAX + 1)

            def has_spoken_last(outdone: int = outdone) -> bool:
                word = word_of(attic, "kitchen")
                return word.incarnation == outdone and word.model != "lie"

            await until(has_spoken_last, f"the device outdoes {incarnation}")
