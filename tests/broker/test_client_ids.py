"""Client ids: who connects with another's throws that one out, so nobody can guess one, and none is shown to others."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from broker.loopback import answers_connect
from broker.mosquitto import MosquittoBroker
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from edge_agent.adapters.mqtt import MqttSettings
from edge_agent.client import Access, ClientSettings, MeshClient
from edge_agent.core.events import ConnectionChanged, PromptReceived
from edge_agent.core.messages import ChatMessage, Prompt, Role
from edge_agent.doctor.home_broker import _check, _lets_everybody_in
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from edge_agent.mqtt import TlsFiles, parse_url
from edge_agent.wire import client_ids, topics
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.adapters.mqtt_devices import Device, device, request, until
from tests.support.brokers import connack
from tests.support.ejabberd import Cluster
from tests.support.patience import PATIENCE_S
from tests.support.secured import HOST, SecuredMesh

pytestmark = pytest.mark.broker

GUESSES = ("device-1", "test.device-1", "test.device-1.device-1", "test.device-1.0123456789ab")


def files(mesh: SecuredMesh, name: str) -> TlsFiles:
    credentials = mesh.device(name)
    return TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key))


async def connects_as(client_id: str, endpoint: Endpoint, credentials: Credentials) -> bool:
    """Whether somebody gets in with this client id. They leave at once."""

    def knock() -> bool:
        try:
            with ProbeClient(client_id, endpoint, credentials):
                return True
        except ConnectRefusedError:
            return False

    return await asyncio.to_thread(knock)


async def still_hears(one: Device, endpoint: Endpoint, alice: Credentials, number: int) -> None:
    """A prompt of alice's reaches the device."""
    prompt = Prompt(f"p{number}", (ChatMessage(Role.USER, "still there?"),))

    def ask() -> None:
        with ProbeClient(client_ids.passing("test", "alice"), endpoint, alice) as client:
            client.publish([(topics.build("test", "device-1", Channel.PROMPTS, "user.alice"), encode(prompt), False)])

    await asyncio.to_thread(ask)
    await one.arrival(PromptReceived, number)


async def test_a_user_with_a_guessed_client_id_throws_no_device_out(tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path, "test")
    alice = mesh.user("alice")
    broker_files = mesh.broker_files(tmp_path / "broker")
    listeners = broker_files.config.listeners
    assert listeners.passwords is not None
    endpoint = mesh.endpoint(listeners.passwords)
    async with (
        MosquittoBroker(broker_files, lambda: mesh.people),
        device("device-1", f"mqtts://{HOST}:{listeners.devices}", tls=files(mesh, "device-1")) as one,
    ):
        for number, guess in enumerate(GUESSES, 1):
            assert await connects_as(guess, endpoint, alice)
            await still_hears(one, endpoint, alice, number)
        assert one.of(ConnectionChanged) == [ConnectionChanged(True)]
        # what makes the guess worth making: this mosquitto does not count ids for each login apart
        assert await connects_as(one.transport._settings.client_id, endpoint, alice)
        await one.connection(False)


async def test_ejabberd_counts_client_ids_for_each_login_apart(tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path, "test")
    alice = mesh.user("alice")
    cluster = Cluster(mesh, tmp_path)
    async with cluster.nodes[0]:  # one is enough
        url = cluster.urls[0]
        # ejabberd wants the name beside the certificate
        async with device("device-1", url, tls=files(mesh, "device-1"), username="device-1") as one:
            for number, guess in enumerate((*GUESSES, one.transport._settings.client_id), 1):
                assert await connects_as(guess, cluster.password_endpoint(0), alice)
                await still_hears(one, cluster.password_endpoint(0), alice, number)
            assert one.of(ConnectionChanged) == [ConnectionChanged(True)]


async def test_another_devices_broker_does_not_learn_what_a_device_is_called_at_home(tmp_path: Path) -> None:
    async with Recorder() as home, Recorder() as away, device("a", home.url) as a:
        for number in range(3):
            a.transport.send_to_device("b", away.url, request(number), None)
        await until(lambda: away.ids, "a CONNECT away")
        at_home, elsewhere = home.ids[0].rpartition(".")[2], away.ids[0].rpartition(".")[2]
        secret = a.transport._settings.install
        assert at_home == client_ids.lasting("test", "a", secret).rpartition(".")[2]
        assert at_home != elsewhere
        assert client_ids.install_tag(secret) not in at_home
        for told in (*home.ids, *away.ids, repr(a.transport._settings)):
            assert secret not in told


class Recorder:
    """A broker that lets everybody in, keeps their client ids, and acknowledges nothing."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Recorder:
        self._server = await self._stack.enter_async_context(await asyncio.start_server(self._serve, HOST, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"mqtt://{HOST}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, size, shift = (await reader.readexactly(1))[0], 0, 0
                while True:
                    (byte,) = await reader.readexactly(1)
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = await reader.readexactly(size)
                if head >> 4 == 1:  # CONNECT: name, level, flags, keepalive, properties, client id
                    at = 11 + body[10]
                    length = int.from_bytes(body[at : at + 2], "big")
                    self.ids.append(body[at + 2 : at + 2 + length].decode())
                    writer.write(connack(0))
                elif head >> 4 == 8:  # SUBSCRIBE: grants all, however many there are
                    at, count = 3 + body[2], 0
                    while at < len(body):
                        at += 2 + int.from_bytes(body[at : at + 2], "big") + 1
                        count += 1
                    writer.write(bytes([0x90, 3 + count]) + body[:2] + b"\0" + b"\1" * count)
        writer.close()


async def _device(url: str) -> None:
    async with device("a", url):
        pass


async def _user(url: str, access: Access | None = None) -> None:
    async with MeshClient(url, "test", access=access, settings=ClientSettings(connect_timeout_s=PATIENCE_S)):
        pass


async def _gateway(url: str) -> None:
    link = MeshLink(GatewayOptions(url, "test", Path("none"), Access("user.web", "x")))
    await link.start()
    await until(lambda: link.connected, "the gateway's connection")
    await link.stop()


async def _operator(url: str, who: str = "test.operator-service") -> None:
    async with mqtt_connect(BrokerAccess(url, who, Path("none")))():
        pass


async def _doctor(url: str) -> None:
    settings = MqttSettings("a", "test", url)
    await _check(parse_url(url), settings, own=False)
    await _lets_everybody_in(parse_url(url), settings)


MAKERS: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
    "a device": _device,
    "a user without a name": _user,
    "a user": lambda url: _user(url, Access("user.alice", "x")),
    "a gateway": _gateway,
    "the operator's service": _operator,
    "a claim": lambda url: _operator(url, "test.kitchen-claim"),
    "doctor": _doctor,
}


@pytest.mark.parametrize("who", MAKERS)
async def test_every_client_of_ours_has_an_id_with_its_mesh_and_eighty_bits_that_nobody_can_guess(who: str) -> None:
    async with Recorder() as broker:
        for _ in range(2):
            await MAKERS[who](broker.url)
        assert len(broker.ids) >= 2
        assert len(set(broker.ids)) == len(broker.ids)
        for one in broker.ids:
            assert re.fullmatch(r"test\.[a-z0-9.-]+\.[0-9a-f]{20}", one), one
            assert len(one) <= 150


async def test_the_probes_of_brokers_cannot_be_guessed_either() -> None:
    async with Recorder() as broker:
        assert await answers_connect(HOST, broker.port, PATIENCE_S)
        assert re.fullmatch(r"health\.[0-9a-f]{20}", broker.ids[0])


def test_a_devices_id_is_its_installations_alone_and_the_same_after_a_restart() -> None:
    secrets = [client_ids.new_secret() for _ in range(2)]
    ids = {client_ids.lasting(mesh, name, one) for mesh in ("a", "b") for name in ("c", "d") for one in secrets}
    assert len(ids) == 8
    assert client_ids.lasting("a", "c", secrets[0]) in ids
    assert max(len(client_ids.lasting("m" * 64, "d" * 64, one)) for one in secrets) == 150
    ends = {one.rpartition(".")[2] for one in ids}
    assert len(ends) == 8, "who knows what it is called in one mesh knows nothing of the other"
