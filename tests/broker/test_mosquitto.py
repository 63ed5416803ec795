"""A supervised mosquitto with certificates, passwords and WebSockets: what follows what, what ends, what is bounded."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from broker import mosquitto_config
from broker.access import People
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_config import Limits, Listeners, MosquittoConfig, Program, installed_program
from broker.mosquitto_files import BrokerFilesError, Change, MosquittoFiles, ServerFiles
from broker.passwords import hash_password, matches
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from edge_agent.wire.topics import Channel, topic_filter
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports
from tests.support.secured import HOST, SecuredMesh

pytestmark = pytest.mark.broker


@pytest.fixture
def mesh(tmp_path: Path) -> SecuredMesh:
    return SecuredMesh(tmp_path)


@pytest.fixture
async def broker(mesh: SecuredMesh, tmp_path: Path) -> AsyncIterator[MosquittoBroker]:
    async with mesh.broker(tmp_path / "broker", web=True) as broker:
        yield broker


def passwords(mesh: SecuredMesh, broker: MosquittoBroker, *, web: bool = False) -> Endpoint:
    listeners = broker._files.config.listeners
    return mesh.endpoint((listeners.web if web else listeners.passwords) or 0, websockets=web)


def topic(device: str, channel: Channel, name: str = "user.alice") -> str:
    return topic_filter("home", device, channel, name, "0")


def let_in(endpoint: Endpoint, credentials: Credentials) -> bool:
    try:
        with ProbeClient(f"try-{time.monotonic_ns()}", endpoint, credentials):
            return True
    except ConnectRefusedError:
        return False


async def until_let_in(endpoint: Endpoint, credentials: Credentials) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(let_in, endpoint, credentials):
            pass


async def test_a_revoked_device_loses_its_session_and_cannot_come_back(
    mesh: SecuredMesh, broker: MosquittoBroker
) -> None:
    endpoint, thief, friend = mesh.endpoint(broker.port), mesh.device("garage"), mesh.device("kitchen")
    live = ProbeClient("thief", endpoint, thief)
    await asyncio.to_thread(live.connect)
    mesh.revoke(thief)  # all that an operator does
    assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
    await asyncio.to_thread(live.close)
    await until_let_in(endpoint, friend)
    assert not await asyncio.to_thread(let_in, endpoint, thief)


async def test_a_new_user_gets_in_without_a_restart_and_a_removed_one_is_cut(
    mesh: SecuredMesh, broker: MosquittoBroker
) -> None:
    endpoint, pid = passwords(mesh, broker), broker.pid
    alice = mesh.user("alice")
    await until_let_in(endpoint, alice)
    assert broker.pid == pid
    live = ProbeClient("alice", endpoint, alice)
    await asyncio.to_thread(live.connect)
    mesh.people = People()
    assert await asyncio.to_thread(live.wait_until_ended, PATIENCE_S)
    await asyncio.to_thread(live.close)
    await until(lambda: broker.revision == 2, "both changes were taken over")
    assert not await asyncio.to_thread(let_in, endpoint, alice)


async def test_a_used_claim_cuts_nobody_off_and_gets_nobody_in(mesh: SecuredMesh, broker: MosquittoBroker) -> None:
    endpoint, pid = passwords(mesh, broker), broker.pid
    claim = mesh.claim("kitchen")
    await until_let_in(endpoint, claim)
    mesh.people = People()
    await until(lambda: broker.revision == 2, "both changes were taken over")
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(let_in, endpoint, claim):
            pass
    assert broker.pid == pid


async def test_a_user_of_one_device_gets_another_when_it_is_granted(mesh: SecuredMesh, broker: MosquittoBroker) -> None:
    endpoint, alice = passwords(mesh, broker), mesh.user("alice", ("kitchen",))
    await until_let_in(endpoint, alice)

    def asks(device: str) -> bool:
        with ProbeClient("alice", endpoint, alice) as user:
            return user.publish([(topic(device, Channel.PROMPTS), b"{}", False)])[0]

    assert await asyncio.to_thread(asks, "kitchen")
    assert not await asyncio.to_thread(asks, "garage")
    login = replace(mesh.people.users[0], devices=("kitchen", "garage"))
    mesh.people, before = People((login,)), broker.revision
    await until(lambda: broker.revision > before, "the grant was taken over")
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(asks, "garage"):  # mosquitto reads its files when it comes to it
            pass


async def test_a_browser_gets_in_by_websockets_with_the_same_rights(mesh: SecuredMesh, broker: MosquittoBroker) -> None:
    alice, web = mesh.user("alice"), passwords(mesh, broker, web=True)
    await until_let_in(web, alice)
    assert not await asyncio.to_thread(let_in, web, Credentials(username=alice.username, password="guess"))
    assert not await asyncio.to_thread(let_in, web, Credentials())

    def talk() -> tuple[bool, list[bool]]:
        with (
            ProbeClient("kitchen", mesh.endpoint(broker.port), mesh.device("kitchen")) as device,
            ProbeClient("alice", web, alice) as user,
        ):
            device.subscribe([topic("kitchen", Channel.PROMPTS), topic("kitchen", Channel.PROPOSALS)])
            user.subscribe([topic("kitchen", Channel.ANSWERS), topic("kitchen", Channel.ANSWERS, "user.bob")])
            taken = user.publish(
                [(topic("kitchen", Channel.PROPOSALS), b"", False), (topic("kitchen", Channel.PROMPTS), b"ask", False)]
            )
            device.wait_for(b"ask", PATIENCE_S)
            whose = ("user.bob", "user.alice")
            device.publish([(topic("kitchen", Channel.ANSWERS, who), who.encode(), False) for who in whose])
            user.wait_for(b"user.alice", PATIENCE_S)
            return [m.payload for m in user.received] == [b"user.alice"], taken

    assert await asyncio.to_thread(talk) == (True, [False, True])


async def test_a_last_will_cannot_say_what_its_client_may_not(mesh: SecuredMesh, broker: MosquittoBroker) -> None:
    endpoint = mesh.endpoint(broker.port)

    def wills_that_arrive() -> list[bytes]:
        with ProbeClient("ear", endpoint, mesh.device("attic")) as ear:
            ear.subscribe([topic(name, Channel.PRESENCE) for name in ("kitchen", "garage")])
            for victim in ("garage", "kitchen"):
                will = (topic(victim, Channel.PRESENCE), f"{victim} is dead".encode(), True)
                dying = ProbeClient("dying", endpoint, mesh.device("kitchen"), will=will)
                try:
                    dying.connect()
                except ConnectRefusedError:
                    continue
                dying.drop()
            ear.wait_for(b"kitchen is dead", PATIENCE_S)
            return [message.payload for message in ear.received]

    assert await asyncio.to_thread(wills_that_arrive) == [b"kitchen is dead"]


async def test_who_takes_anothers_client_id_gets_none_of_its_messages(
    mesh: SecuredMesh, broker: MosquittoBroker
) -> None:
    mallory = mesh.user("mallory")
    await until_let_in(passwords(mesh, broker), mallory)

    def steal() -> tuple[bool, list[bytes]]:
        endpoint, inbox = mesh.endpoint(broker.port), topic("kitchen", Channel.PROPOSALS, "garage")
        victim = ProbeClient("kitchen", endpoint, mesh.device("kitchen"), session_expiry_s=600)
        victim.connect()
        victim.subscribe([inbox])
        victim.drop()
        with ProbeClient("garage", endpoint, mesh.device("garage")) as peer:
            peer.publish([(inbox, b"queued for the kitchen", False)])
            thief = ProbeClient("kitchen", passwords(mesh, broker), mallory, session_expiry_s=600)
            thief.connect()
            thief.subscribe([topic("kitchen", Channel.PRESENCE)])
            peer.publish([(inbox, b"more for the kitchen", False)])
            owner = ProbeClient("kitchen-itself", endpoint, mesh.device("kitchen"))
            owner.connect()
            owner.publish([(topic("kitchen", Channel.PRESENCE), b"end", False)])
            heard = thief.wait_for(b"end", PATIENCE_S)
            owner.close()
            thief.close()
            return heard, [message.payload for message in thief.received]

    assert await asyncio.to_thread(steal) == (True, [b"end"])


def test_our_hashes_are_mosquittos_and_theirs_are_ours(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(theirs), "alice", "open sesame"], check=True)
    their_hash = theirs.read_text().strip().partition(":")[2]
    assert matches("open sesame", their_hash)
    assert not matches("open", their_hash)
    assert matches("ü and : and $", hash_password("ü and : and $"))
    assert hash_password("same") != hash_password("same")


@pytest.mark.parametrize("nonsense", ["", "secret", "$6$salt$key", "$7$101$!$!", "$7$101$YQ==$", "x\ny:z"])
def test_what_is_no_hash_gets_into_no_file(mesh: SecuredMesh, tmp_path: Path, nonsense: str) -> None:
    mesh.user("alice")
    mesh.people = People((replace(mesh.people.users[0], password_hash=nonsense),))
    assert not matches("secret", nonsense)
    with pytest.raises(ValueError, match="password hash"):
        mesh.broker_files(tmp_path / "never").write(mesh.people)
    assert not (tmp_path / "never").exists()


async def test_it_is_started_again_when_it_crashes_or_hangs(
    mesh: SecuredMesh, broker: MosquittoBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.children.supervised.HEALTH_INTERVAL_S", 0.1)
    monkeypatch.setattr("edge_agent.children.supervised.RUN_STILL_S", 2.0)  # none that is only slow is taken for hung
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    await until(lambda: broker.restarts == 1 and broker.running, "it came back from a crash")
    await until_let_in(mesh.endpoint(broker.port), mesh.device("kitchen"))
    hung = broker.pid
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    await until(lambda: broker.restarts == 2, "the hang was seen")
    await until(lambda: broker.running, "it came back from a hang")
    await until_let_in(mesh.endpoint(broker.port), mesh.device("kitchen"))


async def test_what_is_retained_survives_the_restart_that_a_revocation_is(
    mesh: SecuredMesh, broker: MosquittoBroker
) -> None:
    endpoint, presence = mesh.endpoint(broker.port), topic("kitchen", Channel.PRESENCE)

    def say() -> None:
        with ProbeClient("kitchen", endpoint, mesh.device("kitchen")) as kitchen:
            kitchen.publish([(presence, b"online", True)])

    def hear() -> bool:
        with ProbeClient("attic", endpoint, mesh.device("attic")) as attic:
            attic.subscribe([presence])
            return attic.wait_for(b"online", PATIENCE_S)

    await asyncio.to_thread(say)
    mesh.revoke(mesh.device("garage"))
    await until(lambda: broker.revision == 1, "the revocation was taken over")
    assert await asyncio.to_thread(hear)


async def test_a_broken_source_leaves_the_running_broker_as_it_is(mesh: SecuredMesh, broker: MosquittoBroker) -> None:
    pid, good = broker.pid, mesh.crl.read_bytes()
    mesh.crl.write_bytes(good[: len(good) // 2])
    with pytest.raises(BrokerFilesError, match=r"crl\.pem: its revocation list is cut off"):
        await broker.follow()
    assert broker.pid == pid
    mesh.crl.write_bytes(good)
    assert await broker.follow() is Change.NOTHING


async def test_a_missing_or_wrong_file_is_one_line_and_nothing_is_written(mesh: SecuredMesh, tmp_path: Path) -> None:
    good = mesh.broker_files(tmp_path / "never").server
    for server, said in (
        (replace(good, key=tmp_path / "none"), "cannot read .*none: No such file"),
        (replace(good, certificate=good.key), r"broker\.key is not a certificate in PEM form"),
        (replace(good, crl=good.ca), "is not a revocation list"),
    ):
        files = MosquittoFiles(mesh.broker_files(tmp_path / "never").config, "home", server)
        with pytest.raises(BrokerFilesError, match=said) as caught:
            await MosquittoBroker(files).start()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "never").exists()


async def test_a_packet_over_the_limit_ends_its_connection_and_no_other(mesh: SecuredMesh, tmp_path: Path) -> None:
    port, password_port = free_ports(2)
    program = installed_program()
    config = MosquittoConfig(
        tmp_path / "broker", Listeners(HOST, port, password_port, None), program, Limits(packet_bytes_max=10_000)
    )
    credentials = mesh.server
    assert credentials.certificate is not None
    assert credentials.key is not None
    files = MosquittoFiles(config, "home", ServerFiles(credentials.certificate, credentials.key, mesh.ca, mesh.crl))

    def flood() -> tuple[bool, bool]:
        with (
            ProbeClient("kitchen", mesh.endpoint(port), mesh.device("kitchen")) as other,
            ProbeClient("garage", mesh.endpoint(port), mesh.device("garage")) as loud,
        ):
            loud.publish([(topic("kitchen", Channel.REPLIES, "garage"), b"x" * 20_000, False)])
            return loud.wait_until_ended(PATIENCE_S), other.ended

    async with MosquittoBroker(files):
        assert await asyncio.to_thread(flood) == (True, False)


def test_its_files_are_for_its_owner_alone(mesh: SecuredMesh, tmp_path: Path) -> None:
    mesh.user("alice")
    mesh.broker_files(tmp_path / "broker", web=True).write(mesh.people)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "broker").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "broker").stat().st_mode) == 0o700


def test_every_limit_stands_in_the_configuration_and_2_1_gets_its_own_words(mesh: SecuredMesh, tmp_path: Path) -> None:
    config = mesh.broker_files(tmp_path / "broker", web=True).config
    old = replace(config, program=Program("mosquitto", (2, 0, 11))).text()
    for line in ("per_listener_settings true", "max_packet_size 2000000", "max_queued_messages 10000"):
        assert f"\n{line}\n" in old
    assert old.count("max_connections 1000") == 3
    assert old.count("\nallow_anonymous false") == 3
    plugins = tmp_path / "lib"
    new = replace(config, program=Program("mosquitto", (2, 1, 2), plugins)).text()
    for gone in ("per_listener_settings", "\nacl_file ", "\npassword_file ", "\nallow_anonymous"):
        assert gone not in new
    assert (
        f"plugin_load devices_acl {plugins}/mosquitto_acl_file.so\nplugin_opt_acl_file {tmp_path}/broker/devices.acl"
        in new
    )
    assert new.count("listener_allow_anonymous false") == 3
    assert new.count("plugin_use people_passwords") == 2
    without = replace(config, program=Program("mosquitto", (2, 1, 2))).text()
    assert without == old, "where the plugins are not installed 2.1 still knows the old options"


@pytest.mark.parametrize("below", ["", "mosquitto"], ids=["upstream", "debian"])
def test_the_access_plugins_are_found_where_upstream_and_debian_install_them(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho mosquitto version 2.1.2\n")
    program.chmod(0o755)
    monkeypatch.setattr(mosquitto_config, "find_mosquitto", lambda: str(program))
    monkeypatch.setattr(mosquitto_config, "_LIBRARY_FOLDERS", (str(tmp_path / "lib"),))
    assert not installed_program().uses_plugins
    plugins = tmp_path / "lib" / below
    plugins.mkdir(parents=True)
    (plugins / "mosquitto_acl_file.so").touch()
    found = installed_program()
    assert (found.version, found.plugins, found.uses_plugins) == ((2, 1, 2), plugins, True)


@pytest.mark.parametrize("host", ["a b", "x\nallow_anonymous true", "::1#"])
def test_a_host_that_could_be_another_line_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host to listen on"):
        Listeners(host)


def test_one_port_for_two_listeners_is_refused() -> None:
    with pytest.raises(ValueError, match="ports must be different"):
        Listeners("", 8883, 8883)


async def test_every_listener_stays_on_the_address_it_was_given(broker: MosquittoBroker) -> None:
    assert broker.pid is not None
    connections = psutil.Process(broker.pid).net_connections("inet")
    listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    listeners = broker._files.config.listeners
    assert listening == {(HOST, port) for port in (listeners.devices, listeners.passwords, listeners.web)}
