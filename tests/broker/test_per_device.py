from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.access import People
from broker.local_login import LOCAL_SECRET_FILE, LocalLogin
from broker.mosquitto_files import BrokerFilesError, Change
from broker.per_device import DeviceBroker
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from broker.web_login import try_login, until_admitted
from edge_agent.wire.topics import Channel, topic_filter
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker


@pytest.fixture
def mesh(tmp_path: Path) -> SecuredMesh:
    return SecuredMesh(tmp_path)


@pytest.fixture
async def kitchen(mesh: SecuredMesh) -> AsyncIterator[DeviceBroker]:
    broker = mesh.device_broker("kitchen")
    await broker.start()
    yield broker
    await broker.stop()


def topic(channel: Channel, name: str = "garage") -> str:
    return topic_filter("home", "kitchen", channel, name, "0")


def delivered(endpoint: Endpoint, sender: Credentials, reader: Credentials, where: str) -> bool:
    """Whether a message of one reaches the other, told apart from a late one by a message that does."""
    with ProbeClient("reader", endpoint, reader) as ear, ProbeClient("sender", endpoint, sender) as mouth:
        ear.subscribe([where, topic(Channel.PRESENCE)])
        mouth.publish([(where, b"probe", False)])
        with ProbeClient("kitchen-itself", endpoint, reader) as end:
            end.publish([(topic(Channel.PRESENCE), b"end", False)])
        assert ear.wait_for(b"end", PATIENCE_S)
        return any(message.payload == b"probe" for message in ear.received)


async def test_peers_write_its_inboxes_and_nothing_else(mesh: SecuredMesh, kitchen: DeviceBroker) -> None:
    endpoint, own, peer = mesh.endpoint(kitchen.port), mesh.device("kitchen"), mesh.device("garage")
    for channel in (Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP, Channel.REVOCATIONS):
        assert await asyncio.to_thread(delivered, endpoint, peer, own, topic(channel)), channel
        for other in ("attic", "kitchen", "operator", "me"):
            assert not await asyncio.to_thread(delivered, endpoint, peer, own, topic(channel, other)), (channel, other)
    for channel in (Channel.PROMPTS, Channel.JOBS, Channel.CERTIFICATES):
        assert not await asyncio.to_thread(delivered, endpoint, peer, own, topic(channel)), channel


async def test_its_certificate_names_the_device_to_who_checks(mesh: SecuredMesh, kitchen: DeviceBroker) -> None:
    def connect() -> None:
        ProbeClient("x", mesh.endpoint(kitchen.port), mesh.device("garage")).__enter__().close()

    await asyncio.to_thread(connect)


async def test_whoever_looks_for_the_shared_broker_does_not_take_a_devices_own_for_it(
    mesh: SecuredMesh, kitchen: DeviceBroker
) -> None:
    def connect() -> None:
        ProbeClient("x", mesh.endpoint(kitchen.port, shared=True), mesh.device("garage")).__enter__().close()

    with pytest.raises(ConnectRefusedError, match="is of device kitchen, which may serve itself only"):
        await asyncio.to_thread(connect)


async def test_a_stranger_is_kept_out(mesh: SecuredMesh, kitchen: DeviceBroker, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for credentials in (
        Credentials(),
        Credentials(username="kitchen", password="x"),
        SecuredMesh(other).device("kitchen"),
        mesh.server,
    ):
        with pytest.raises(ConnectRefusedError):
            await asyncio.to_thread(ProbeClient("x", mesh.endpoint(kitchen.port), credentials).connect)


async def test_who_is_revoked_loses_the_live_session_and_cannot_come_back(
    mesh: SecuredMesh, kitchen: DeviceBroker
) -> None:
    thief, friend = mesh.device("garage"), mesh.device("attic")
    endpoint = mesh.endpoint(kitchen.port)
    live = ProbeClient("thief", endpoint, thief)
    await asyncio.to_thread(live.connect)
    mesh.revoke(thief)
    assert await kitchen.apply_crl() is Change.RESTART
    assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
    live.close()
    with pytest.raises(ConnectRefusedError):
        await asyncio.to_thread(ProbeClient("thief", endpoint, thief).connect)
    await asyncio.to_thread(lambda: ProbeClient("friend", endpoint, friend).__enter__().close())


async def test_a_broken_revocation_list_leaves_the_old_one_in_force(
    mesh: SecuredMesh, kitchen: DeviceBroker, tmp_path: Path
) -> None:
    mesh.revoke(mesh.device("garage"))
    await kitchen.apply_crl()
    broken = tmp_path / "broken.pem"
    broken.write_bytes(mesh.crl.read_bytes()[:200])
    with pytest.raises(BrokerFilesError, match=r"broken\.pem"):
        await kitchen.apply_crl(broken)
    assert kitchen.running
    with pytest.raises(ConnectRefusedError):
        await asyncio.to_thread(ProbeClient("x", mesh.endpoint(kitchen.port), mesh.device("garage")).connect)


async def test_it_comes_back_by_itself_when_it_crashes_and_stays_down_when_killed(
    mesh: SecuredMesh, kitchen: DeviceBroker
) -> None:
    assert kitchen.pid is not None
    os.kill(kitchen.pid, signal.SIGKILL)
    await until(lambda: kitchen.restarts == 1 and kitchen.running, "it was started again")
    await kitchen.kill()
    assert not kitchen.running
    await kitchen.start()
    endpoint = mesh.endpoint(kitchen.port)
    await asyncio.to_thread(lambda: ProbeClient("x", endpoint, mesh.device("garage")).__enter__().close())


async def test_who_is_on_the_device_and_may_read_its_file_has_a_users_rights_and_nobody_else_comes_in(
    mesh: SecuredMesh,
) -> None:
    alice = mesh.user("alice")
    broker = mesh.device_broker("kitchen", plain=True)
    await broker.start()
    try:
        port = broker._files.config.listeners.plain
        assert port is not None
        endpoint, own, here = mesh.endpoint(broker.port), mesh.device("kitchen"), Endpoint("127.0.0.1", port)
        secret = mesh.folder / LOCAL_SECRET_FILE
        assert secret.stat().st_mode & 0o777 == 0o600
        me = Credentials(username="me", password=secret.read_text().strip())
        strangers = (
            Credentials(),
            Credentials(username="me"),
            Credentials(username="me", password="guess"),
            replace(alice, password="x"),
        )
        for stranger in (*strangers, Credentials(username="kitchen", password=me.password)):
            with pytest.raises(ConnectRefusedError):
                await asyncio.to_thread(ProbeClient("x", here, stranger).connect)

        def talk() -> list[list[bytes]]:
            with (
                ProbeClient("k", endpoint, own) as device,
                ProbeClient("local", here, me) as user,
                ProbeClient("another user of this machine", here, alice) as other,
            ):
                device.subscribe([topic(Channel.PROMPTS, "+"), topic(Channel.PROPOSALS, "+")])
                for one in (user, other):
                    one.subscribe(["#", topic(Channel.ANSWERS, "+")])
                forbidden = [topic(Channel.PROPOSALS, name) for name in ("garage", "me")]
                forbidden += [topic(Channel.PROMPTS, name) for name in ("user.alice", "kitchen")]
                user.publish([*((one, b"forbidden", False) for one in forbidden), (asks, b"ask", False)])
                other.publish([(asks, b"forbidden", False), (topic(Channel.PROMPTS, "user.alice"), b"asks too", False)])
                device.wait_for(b"ask", PATIENCE_S)
                device.wait_for(b"asks too", PATIENCE_S)
                answers = (("user.alice", b"for alice"), ("me", b"for who may read the file"))
                device.publish([(topic(Channel.ANSWERS, name), said, False) for name, said in answers])
                user.wait_for(b"for who may read the file", PATIENCE_S)
                other.wait_for(b"for alice", PATIENCE_S)
                return [[one.payload for one in each.received] for each in (device, user, other)]

        asks = topic(Channel.PROMPTS, "me")
        device, user, other = await asyncio.to_thread(talk)
        assert sorted(device) == [b"ask", b"asks too"]
        assert (set(user), set(other)) == ({b"for who may read the file"}, {b"for alice"})  # by two filters: twice
    finally:
        await broker.stop()


@pytest.mark.parametrize("damage", ["", "open", "short", "gone"])
def test_the_password_of_this_machine_stays_over_restarts_unless_others_may_know_it(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / LOCAL_SECRET_FILE
    LocalLogin(path).write()
    first = path.read_text()
    match damage:
        case "open":
            path.chmod(0o644)
        case "short":
            path.write_text("guess\n")
        case "gone":
            path.unlink()
    LocalLogin(path).write()
    assert (path.read_text() == first) is (damage == "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().strip()) == 32


async def test_its_private_key_is_for_nobody_else_to_read(mesh: SecuredMesh, kitchen: DeviceBroker) -> None:
    folder = mesh.folder / "kitchen-broker"
    assert folder.stat().st_mode & 0o077 == 0
    assert {path.name for path in folder.iterdir() if path.stat().st_mode & 0o077} == set()


async def test_its_web_endpoint_opens_with_the_first_user_and_closes_with_the_last(mesh: SecuredMesh) -> None:
    (web_port,) = free_ports(1)
    broker = mesh.device_broker("kitchen", web_port=web_port)
    endpoint = mesh.endpoint(web_port, websockets=True)
    await broker.start()
    try:
        with pytest.raises(ConnectRefusedError):
            await asyncio.to_thread(try_login, endpoint, "user.alice", "secret of alice")
        mesh.user("alice", ("kitchen",))
        await until_admitted(endpoint, "user.alice", "secret of alice", within_s=PATIENCE_S)
        live = ProbeClient("alice", endpoint, Credentials(username="user.alice", password="secret of alice"))
        await asyncio.to_thread(live.connect)
        mesh.people = People()
        assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while not is_free(web_port):  # noqa: ASYNC110 - waits for another process
                await asyncio.sleep(0.02)
    finally:
        await broker.stop()


async def test_a_taken_web_port_keeps_users_out_and_leaves_the_device_its_broker(
    mesh: SecuredMesh, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = mesh.device_broker("kitchen", web_port=taken.getsockname()[1])
        await broker.start()
        try:
            pid = broker.pid
            mesh.user("alice")
            await until(lambda: "users cannot connect there" in caplog.text, "it says so")
            assert broker.pid == pid
            assert await asyncio.to_thread(let_in, mesh.endpoint(broker.port), mesh.device("garage"))
        finally:
            await broker.stop()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def let_in(endpoint: Endpoint, credentials: Credentials) -> bool:
    with ProbeClient("garage", endpoint, credentials):
        return True
