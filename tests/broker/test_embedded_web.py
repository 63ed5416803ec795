"""The web side of the embedded broker: who gets in, what they may read, and how they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from broker import kinds
from broker.access import People, UserLogin
from broker.embedded import EmbeddedBroker
from broker.loopback import answers_connect
from broker.passwords import hash_password
from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from broker.web_login import NotAdmittedError, until_admitted, web_endpoint
from edge_agent.children import ChildStartError
from edge_agent.wire.topics import Channel, build, user_login
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker

SECRETS = {"alice": "secret of alice", "bob": "secret of bob"}
HASHES = {name: hash_password(secret) for name, secret in SECRETS.items()}  # once: another salt is another password


class Web:
    """A broker with a web side whose people the test changes."""

    def __init__(self) -> None:
        self.people = People()
        self.broker = EmbeddedBroker(kind="mosquitto", web_port=0, people=lambda: self.people, mesh="home")

    def let_in(self, *users: UserLogin) -> None:
        self.people = People(users)

    @property
    def endpoint(self) -> Endpoint:
        return web_endpoint(self.broker.web_url)

    @property
    def plain(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.broker.port)


def user(name: str, devices: tuple[str, ...] | None = None) -> UserLogin:
    return UserLogin(name, HASHES[name], devices)


def credentials(name: str) -> Credentials:
    return Credentials(username=user_login(name), password=SECRETS[name])


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    made = Web()
    async with made.broker:
        yield made


async def test_nobody_gets_in_without_a_secret_even_while_there_are_no_users(web: Web) -> None:
    strangers = [
        Credentials(),
        Credentials(username="user.alice"),
        Credentials(username="user.alice", password="wrong"),
    ]

    def knock() -> None:
        for stranger in strangers:
            with pytest.raises(ConnectRefusedError):
                ProbeClient("stranger", web.endpoint, stranger).connect()

    await asyncio.to_thread(knock)
    web.let_in(user("alice"))
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=PATIENCE_S)
    await asyncio.to_thread(knock)


async def test_users_read_their_own_answers_and_reach_their_own_devices_only(web: Web) -> None:
    web.let_in(user("alice"), user("bob", ("kitchen",)))
    await until_admitted(web.endpoint, "user.bob", SECRETS["bob"], within_s=PATIENCE_S)

    def share() -> None:
        with (
            ProbeClient("device", web.plain, Credentials()) as device,
            ProbeClient("a-1", web.endpoint, credentials("alice")) as alice,
            ProbeClient("b-1", web.endpoint, credentials("bob")) as bob,
        ):
            device.subscribe(["moamesh/v2/home/devices/+/prompts/+"])
            alice.subscribe(["#", "$SYS/#", "moamesh/v2/home/devices/+/answers/+/+"])
            bob.subscribe(
                ["#", "moamesh/v2/home/devices/+/answers/+/+", "$share/g/moamesh/v2/home/devices/+/answers/+/+"]
            )
            said = [
                (build("home", "kitchen", Channel.ANSWERS, "user.alice", "0"), b"for alice", False),
                (build("home", "kitchen", Channel.ANSWERS, "user.bob", "0"), b"for bob", False),
                (build("home", "cellar", Channel.ANSWERS, "user.bob", "0"), b"not bob's device", False),
                (build("home", "cellar", Channel.PROPOSALS, "kitchen"), b"between devices", False),
                (build("other", "cellar", Channel.STATUS), b"another mesh", False),
                (build("home", "cellar", Channel.STATUS), b"status", False),
                (build("home", "kitchen", Channel.STATUS), b"last", False),
            ]
            assert all(device.publish(said))
            for client in (alice, bob):
                assert client.wait_for(b"last", PATIENCE_S)
            assert {one.payload for one in alice.received} == {b"for alice", b"status", b"last"}
            assert {one.payload for one in bob.received} == {b"for bob", b"last"}
            prompts = [("cellar", "user.bob"), ("kitchen", "user.alice"), ("kitchen", "user.bob"), ("kitchen", "me")]
            asked = [(build("home", to, Channel.PROMPTS, as_), f"{to} {as_}".encode(), False) for to, as_ in prompts]
            assert bob.publish(asked) == [False, False, True, False]
            forged = [(build("home", "kitchen", Channel.ANSWERS, "user.bob", "0"), b"forged", False)]
            assert alice.publish(forged) == [False]
            assert device.wait_for(b"kitchen user.bob", PATIENCE_S)
            assert [one.payload for one in device.received] == [b"kitchen user.bob"]
            assert not any(one.payload == b"forged" for one in bob.received)

    await asyncio.to_thread(share)


async def test_a_removed_user_loses_the_live_session_and_a_new_one_is_let_in_without_a_restart(web: Web) -> None:
    web.let_in(user("alice"))
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=PATIENCE_S)
    pid = web.broker.pid
    web.let_in(user("alice"), user("bob"))
    await until_admitted(web.endpoint, "user.bob", SECRETS["bob"], within_s=PATIENCE_S)
    assert web.broker.pid == pid

    alice = ProbeClient("a-1", web.endpoint, credentials("alice"))
    await asyncio.to_thread(alice.connect)
    web.let_in(user("bob"))
    assert await asyncio.to_thread(alice.wait_until_ended, PATIENCE_S)
    await until_admitted(web.endpoint, "user.bob", SECRETS["bob"], within_s=PATIENCE_S)
    with pytest.raises(NotAdmittedError, match=r"user\.alice cannot log in"):
        await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=0.0)


async def test_it_listens_on_loopback_unless_the_network_is_asked_for() -> None:
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "::")):
        async with EmbeddedBroker(kind="mosquitto", web_port=0, web_host=host) as broker:
            assert broker.pid is not None
            listening = {
                (c.laddr.ip, c.laddr.port)
                for c in psutil.Process(broker.pid).net_connections("inet")
                if c.status == psutil.CONN_LISTEN
            }
            web_port = web_endpoint(broker.web_url).port
            hosts = {ip for ip, port in listening if port == web_port}
            assert hosts in ({shown}, {"0.0.0.0"} if shown == "::" else {shown})
            assert ("127.0.0.1", broker.port) in listening
            assert broker.web_url.startswith("ws://127.0.0.1:")


async def test_a_restart_keeps_the_web_port_and_its_people(web: Web) -> None:
    web.let_in(user("alice"))
    url = web.broker.web_url
    await web.broker.restart()
    assert web.broker.web_url == url
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=PATIENCE_S)
    await web.broker.kill()
    await web.broker.start()
    assert web.broker.web_url == url
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=PATIENCE_S)


async def test_what_a_broken_source_says_leaves_the_broker_as_it_is(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    web.let_in(user("alice"))
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=PATIENCE_S)
    web.let_in(UserLogin("alice", "no hash"))
    await until(lambda: "the broker keeps using its old users" in caplog.text, "it says so")
    await until_admitted(web.endpoint, "user.alice", SECRETS["alice"], within_s=0.0)


async def test_a_taken_web_port_is_said_in_one_line(web: Web, tmp_path: Path) -> None:
    port = web.endpoint.port
    with pytest.raises(ChildStartError, match=rf"port {port} \(WebSockets\) is taken"):
        await EmbeddedBroker(kind="mosquitto", web_port=port, run_dir=tmp_path).start()


async def test_where_only_iotcore_is_there_it_says_what_to_install() -> None:
    async with EmbeddedBroker(kind="iotcore", web_port=0) as broker:
        assert broker.web_url == ""
        assert "apt install mosquitto" in broker.web_hint


async def test_a_mosquitto_without_websockets_carries_the_mesh_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some distributions build it so; this stands in for one by refusing the word and running the real one otherwise.
    program = tmp_path / "mosquitto"
    program.write_text(
        "#!/bin/sh\n"
        'if grep -q "^protocol websockets" "$2"; then echo "Error: Websockets support not available." >&2; exit 3; fi\n'
        f'exec {kinds.find_mosquitto()} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    async with EmbeddedBroker(kind="mosquitto", web_port=0) as broker:
        assert broker.web_url == ""
        assert "built without WebSockets" in broker.web_hint
        assert await answers_connect("127.0.0.1", broker.port, PATIENCE_S)


@pytest.mark.parametrize(
    "url", ["mqtt://host:1", "ws://", "wss://user:pass@host:1", "ws://host:99999", "ws://host:0", "host"]
)
def test_what_is_no_web_address_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="must be ws://host:port or wss://host:port"):
        web_endpoint(url)
