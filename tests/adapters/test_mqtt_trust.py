"""Whom a device takes for a broker: before it has shown the right certificate, not a byte of MQTT is sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509

from broker.embedded import EmbeddedBroker
from broker.kinds import find_mosquitto
from edge_agent.children import ChildProcess
from edge_agent.client import Access, BrokerUnreachableError, ClientSettings, MeshClient
from edge_agent.core.events import PeerMessageReceived, SendFailed
from edge_agent.mqtt import TlsFiles
from provisioning.authority import Identity, MeshAuthority
from provisioning.link import LinkError
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.adapters.mqtt_devices import Device, device, request, until
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker

HOST = "127.0.0.1"
BRIEF = ClientSettings(connect_timeout_s=5.0)
Make = Callable[[MeshAuthority, MeshAuthority], Identity]


@pytest.fixture
def mesh(tmp_path: Path) -> MeshAuthority:
    """The mesh's CA, and what device a has of it."""
    authority = MeshAuthority.create(tmp_path / "ca", "test")
    write(tmp_path / "a", authority.issue_device("a"))
    return authority


def write(path: Path, identity: Identity) -> None:
    path.with_suffix(".pem").write_bytes(identity.certificate_pem)
    path.with_suffix(".key").write_bytes(identity.key_pem)


def files_of_a(folder: Path) -> TlsFiles:
    return TlsFiles(*(str(folder / name) for name in ("ca/ca.pem", "a.pem", "a.key", "ca/crl.pem")))


class Listener:
    """A TLS server that keeps what it is told and never answers."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        write(folder / "listener", identity)
        self.heard = b""
        self._writers: list[asyncio.StreamWriter] = []
        self.tried = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "listener.pem", folder / "listener.key")
        self._context.sni_callback = self._count

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._listen, HOST, 0, ssl=self._context) as server:
            yield f"mqtts://{HOST}:{server.sockets[0].getsockname()[1]}"
            for writer in self._writers:
                writer.transport.abort()

    def _count(self, sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.tried += 1

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1024):
                self.heard += data
        writer.close()


BAD: dict[str, Make] = {
    "of another mesh": lambda mesh, other: other.issue_device("b"),
    "of another device": lambda mesh, other: mesh.issue_device("c"),
    "for another host": lambda mesh, other: mesh.issue_broker(["broker.example", "10.9.8.7"]),
    "of a device whose name only begins alike": lambda mesh, other: mesh.issue_device("b-2"),
    "expired": lambda mesh, other: mesh.issue_device("b", [HOST], lifetime=datetime.timedelta(hours=-1)),
    "of the operator, who is no server": lambda mesh, other: mesh.issue_operator(),
    "of another device, which took this host's address": lambda mesh, other: mesh.issue_device("mallory", [HOST]),
}
GOOD: dict[str, Make] = {
    "of the device whose home it is": lambda mesh, other: mesh.issue_device("b"),
    "for the host": lambda mesh, other: mesh.issue_broker([HOST]),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_broker_with_a_certificate_that_is_not_good_hears_nothing(
    what: str, tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker
) -> None:
    listener = Listener(tmp_path, BAD[what](mesh, MeshAuthority.create(tmp_path / "other", "test")))
    async with listener.open() as url, device("a", mosquitto.url, tls=files_of_a(tmp_path), flush_s=0.1) as a:
        a.transport.send_to_device("b", url, request(), None)
        assert "is not the home broker of b, though another device says so" in (await a.arrival(SendFailed)).detail
        assert a.transport.counters.connects == 1, "its own home alone"
        assert (listener.tried >= 1, listener.heard) == (True, b"")


async def test_a_revoked_broker_hears_nothing(tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker) -> None:
    identity = mesh.issue_device("b")
    mesh.revoke([x509.load_pem_x509_certificate(identity.certificate_pem).serial_number])
    listener = Listener(tmp_path, identity)
    async with listener.open() as url, device("a", mosquitto.url, tls=files_of_a(tmp_path), flush_s=0.1) as a:
        a.transport.send_to_device("b", url, request(), None)
        await a.arrival(SendFailed)
        assert (listener.tried >= 1, listener.heard) == (True, b"")


@pytest.mark.parametrize("knows", [True, False], ids=["with the list", "without it"])
async def test_users_programs_and_the_operators_look_at_the_list_that_they_are_given(
    knows: bool, tmp_path: Path, mesh: MeshAuthority
) -> None:
    identity = mesh.issue_broker([HOST])
    mesh.revoke([x509.load_pem_x509_certificate(identity.certificate_pem).serial_number])
    listener = Listener(tmp_path, identity)
    ca, crl = tmp_path / "ca" / "ca.pem", tmp_path / "ca" / "crl.pem" if knows else None
    tls = TlsFiles(str(ca), revoked=str(crl) if crl else None)

    async def user(url: str) -> None:
        async with MeshClient(url, "test", access=Access("user.alice", "secret", tls), settings=BRIEF):
            pass

    async def operator(url: str) -> None:
        files = (ca, tmp_path / "a.pem", tmp_path / "a.key")
        async with mqtt_connect(BrokerAccess(url, "test.operator", *files, crl_file=crl))():
            pass

    async def tried(connect: Callable[[str], Awaitable[None]], url: str, ended: list[Exception]) -> None:
        try:
            await connect(url)
        except (BrokerUnreachableError, LinkError) as error:
            ended.append(error)

    async with listener.open() as url:
        for connect in (user, operator):
            listener.heard = b""
            ended: list[Exception] = []
            task = asyncio.create_task(tried(connect, url, ended))
            await until(lambda ended=ended: ended or b"MQTT" in listener.heard, "a CONNECT, or the refusal")  # type: ignore[misc]  # bound now
            task.cancel()
            await asyncio.wait([task])
            assert (b"MQTT" in listener.heard) is not knows


@pytest.mark.parametrize("what", GOOD)
async def test_the_right_broker_is_spoken_to(
    what: str, tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker
) -> None:
    listener = Listener(tmp_path, GOOD[what](mesh, mesh))
    async with listener.open() as url, device("a", mosquitto.url, tls=files_of_a(tmp_path), flush_s=0.1) as a:
        a.transport.send_to_device("b", url, request(), None)
        await until(lambda: b"MQTT" in listener.heard, "a CONNECT")


NOT_FOR_MANY: dict[str, Make] = {
    "of a device, which has this host's address": lambda mesh, other: mesh.issue_device("mallory", [HOST]),
    "of the very device that asks, which has it": lambda mesh, other: mesh.issue_device("b", [HOST]),
    "of the operator": lambda mesh, other: mesh.issue_operator(),
}


@pytest.mark.parametrize("what", NOT_FOR_MANY)
async def test_a_certificate_that_is_no_brokers_is_nobodys_shared_broker(
    what: str, tmp_path: Path, mesh: MeshAuthority
) -> None:
    """Devices, users, the operator and cards that claim alike: none of them tells it who they are."""
    listener = Listener(tmp_path, NOT_FOR_MANY[what](mesh, mesh))
    ca = Path(files_of_a(tmp_path).ca or "")
    async with listener.open() as url:
        async with device("a", url, connected=False, tls=files_of_a(tmp_path)) as a:
            await until(lambda: a.transport.counters.connect_failures >= 2, "two tries")
        with pytest.raises(BrokerUnreachableError, match=r"not valid for this broker|unsuitable|purpose"):
            async with MeshClient(
                url, "test", access=Access("user.alice", "secret", TlsFiles(str(ca))), settings=BRIEF
            ):
                pass
        for credentials in ({"username": "claim.b", "password": "secret"}, {"certificate_file": tmp_path / "a.pem"}):
            access = BrokerAccess(url, "test.x", ca, key_file=tmp_path / "a.key", **credentials)  # type: ignore[arg-type]  # two ways in
            with pytest.raises(LinkError):
                async with mqtt_connect(access)():
                    pass
        assert listener.tried >= 5
        assert listener.heard == b""


@pytest.mark.parametrize(("whose", "heard"), [("c", False), ("b", True)])
async def test_the_operator_finds_a_device_at_its_own_broker_and_no_other_there(
    whose: str, heard: bool, tmp_path: Path, mesh: MeshAuthority
) -> None:
    listener = Listener(tmp_path, mesh.issue_device("b"))
    ca, key = Path(files_of_a(tmp_path).ca or ""), tmp_path / "a.key"
    said = ""

    async def talk(url: str) -> None:
        nonlocal said
        try:
            async with mqtt_connect(BrokerAccess(url, "test.operator", ca, tmp_path / "a.pem", key, broker_of=whose))():
                pass
        except LinkError as error:
            said = str(error)

    async with listener.open() as url:
        task = asyncio.create_task(talk(url))
        await until(lambda: b"MQTT" in listener.heard or said, "a CONNECT, or the refusal")
        task.cancel()
        await asyncio.wait([task])
        assert (b"MQTT" in listener.heard) is heard
        assert heard or "is of device b, which may serve itself only" in said


@pytest.mark.parametrize(("hosts", "heard"), [((), False), (("localhost",), True)])
async def test_a_broker_of_the_mesh_at_a_host_that_no_settings_name_hears_nothing_of_others(
    hosts: tuple[str, ...], heard: bool, tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker
) -> None:
    listener = Listener(tmp_path, mesh.issue_broker(["localhost"]))
    async with (
        listener.open() as url,
        device("a", mosquitto.url, tls=files_of_a(tmp_path), hosts=hosts, flush_s=0.1) as a,
    ):
        a.transport.send_to_device("b", url.replace(HOST, "localhost"), request(), None)
        await until(lambda: b"MQTT" in listener.heard or a.of(SendFailed), "a CONNECT, or the refusal")
        assert (b"MQTT" in listener.heard) is heard


@contextlib.asynccontextmanager
async def real_broker(folder: Path, identity: Identity) -> AsyncIterator[str]:
    """A mosquitto that shows this certificate and asks for one of the mesh."""
    write(folder / "server", identity)
    (port,) = free_ports(1)
    (folder / "mosquitto.conf").write_text(
        f"user root\nlistener {port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\nrequire_certificate true\n"
        f"cafile {folder}/ca/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    )
    process = ChildProcess([find_mosquitto() or "mosquitto", "-c", str(folder / "mosquitto.conf")], folder / "log")
    await process.start()
    try:
        yield f"mqtts://{HOST}:{port}"
    finally:
        await process.stop()


async def test_what_is_for_others_does_not_go_to_a_broker_that_only_named_its_device(
    tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker
) -> None:
    write(tmp_path / "b", mesh.issue_device("b"))
    async with real_broker(tmp_path, mesh.issue_device("b")) as url:
        b_files = TlsFiles(f"{tmp_path}/ca/ca.pem", f"{tmp_path}/b.pem", f"{tmp_path}/b.key")
        async with device("b", url, tls=b_files) as b, device("a", mosquitto.url, tls=files_of_a(tmp_path)) as a:
            a.transport.send_to_device("b", url, request(1), 30.0)
            await b.arrival(PeerMessageReceived)
            a.transport.send_to_device("c", url, request(2), 30.0)  # somebody lies about where c is at home
            await a.arrival(SendFailed)
            assert len(a.transport._away.homes) == 1
            a.transport.send_to_device("b", url, request(3), 30.0)
            await b.arrival(PeerMessageReceived, 2)


async def test_a_broker_that_named_its_host_serves_all_who_are_at_home_there_over_one_connection(
    tmp_path: Path, mesh: MeshAuthority, mosquitto: EmbeddedBroker
) -> None:
    async with real_broker(tmp_path, mesh.issue_broker([HOST])) as url, contextlib.AsyncExitStack() as stack:
        devices: list[Device] = []
        for name in ("b", "c", "d"):
            write(tmp_path / name, mesh.issue_device(name))
            tls = TlsFiles(f"{tmp_path}/ca/ca.pem", f"{tmp_path}/{name}.pem", f"{tmp_path}/{name}.key")
            devices.append(await stack.enter_async_context(device(name, url, tls=tls)))
        a = await stack.enter_async_context(device("a", mosquitto.url, tls=files_of_a(tmp_path)))
        for one in devices:
            a.transport.send_to_device(one.device_id, url, request(1), 30.0)
            await one.arrival(PeerMessageReceived)
        assert len(a.transport._away.homes) == 1


async def test_a_renewed_certificate_counts_from_the_next_connection_on(tmp_path: Path, mesh: MeshAuthority) -> None:
    async with (
        real_broker(tmp_path, mesh.issue_broker([HOST])) as url,
        device("a", url, tls=files_of_a(tmp_path)) as a,
    ):
        shown = a.link._paho.socket().version()  # type: ignore[union-attr]  # a TLS socket while connected
        assert shown in ("TLSv1.2", "TLSv1.3")
        write(tmp_path / "a", MeshAuthority.create(tmp_path / "other", "test").issue_device("a"))
        a.transport.renew()
        await until(lambda: a.transport.counters.connect_failures >= 1, "the refusal of the wrong one")
        write(tmp_path / "a", mesh.issue_device("a"))
        await a.connection(True, 2)
