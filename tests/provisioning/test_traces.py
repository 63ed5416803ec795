"""What a revoked device left retained at a real broker is cleared: by the command, by the service, or it is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest
from typer.testing import CliRunner

from broker.access import UserLogin
from broker.embedded import EmbeddedBroker
from broker.passwords import hash_password
from edge_agent.cli.main import app
from edge_agent.mqtt import TlsFiles, open_client
from edge_agent.wire.topics import ANY, HOME_ASSISTANT_USER, Channel, build, discovery_config, topic_filter, user_login
from provisioning import traces
from provisioning.identity_store import IdentityStore
from provisioning.link import LinkError
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.traces import clear_for_good, trace_topics
from tests.provisioning.home import MESH, Home
from tests.support.brokers import mosquitto
from tests.support.patience import PATIENCE_S

__all__ = ["mosquitto"]

pytestmark = pytest.mark.broker

TOPICS = trace_topics(MESH, "kitchen", home_assistant=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    with made.mesh.inventory() as inventory:
        inventory.add_user(HOME_ASSISTANT_USER, hash_password("ha"), None)
    return made


@contextlib.asynccontextmanager
async def device(home: Home, store: IdentityStore) -> AsyncIterator[aiomqtt.Client]:
    """A member that has announced itself everywhere, with a last will that is retained."""
    identity = str(store.identity_file)
    will = aiomqtt.Will(TOPICS[0], b'{"state": "lost"}', qos=1, retain=True)
    client = open_client(
        home.url(home.device_port),
        client_id=store.device_id,
        will=will,
        tls=TlsFiles(str(store.ca_file), identity, identity),
    )
    with contextlib.suppress(aiomqtt.MqttError):  # it is thrown out
        async with client:
            for topic in TOPICS:
                await client.publish(topic, b'{"state": "online"}', qos=1, retain=True)
            yield client


async def retained(home: Home) -> set[str]:
    """What the broker keeps, as Home Assistant, who may read all of it, gets it at a subscription."""
    client = open_client(
        home.url(home.password_port),
        client_id="looks",
        username=user_login(HOME_ASSISTANT_USER),
        password="ha",
        tls=TlsFiles(str(home.mesh.ca_file)),
    )
    found: set[str] = set()
    async with client:
        for topic in (*TOPICS[:2], "homeassistant/#"):
            await client.subscribe(topic, qos=1)
        end = "homeassistant/end"  # comes after all that was retained: one sender, one connection
        await client.publish(end, b"end", qos=1)
        async for message in client.messages:
            if str(message.topic) == end:
                return found
            if message.retain and message.payload:
                found.add(str(message.topic))
    return found


async def thrown_out(client: aiomqtt.Client) -> None:
    """Waits until the broker has cut a session."""
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(aiomqtt.MqttError):
            async for _ in client.messages:
                pass


async def gone(home: Home) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(aiomqtt.MqttError):  # the broker restarts with the new list
                if not await retained(home) & set(TOPICS):
                    return


async def test_the_command_clears_all_of_it_also_the_last_will_that_comes_when_the_session_is_cut(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(home.folder))
    monkeypatch.setattr(traces, "QUIET_S", 5.0)  # a broker of ours follows in one second, on a slow machine in a few
    monkeypatch.setattr(traces, "REACH_S", PATIENCE_S)
    monkeypatch.setattr(traces, "GIVE_UP_S", PATIENCE_S)
    monkeypatch.setattr(traces, "ROUNDS_MAX", 100)
    broker = home.broker()
    await broker.start()
    try:
        store = home.joined("kitchen")
        async with device(home, store) as client:
            assert await retained(home) == set(TOPICS)

            arguments = ["device", "revoke", "kitchen", "--json"]  # and the broker follows by itself
            result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
            await thrown_out(client)
        assert result.exit_code == 0, result.output
        (trace,) = json.loads(result.stdout)["traces"]
        assert trace == {"broker": home.url(home.device_port), "cleared": True, "detail": "", "topics": list(TOPICS)}
        await gone(home)
    finally:
        await broker.stop()


async def test_the_service_clears_what_it_finds_and_what_comes_later(home: Home) -> None:
    broker = home.broker()
    await broker.start()
    try:
        store, other = home.joined("kitchen"), home.joined("barn")
        async with device(home, store) as client:
            barn = build(MESH, "barn", Channel.PRESENCE)
            async with home.member(other)() as link:
                await link.publish(barn, b'{"state": "online"}', retain=True)
            home.mesh.revoke("kitchen", home.authority)
            async with home.serving():
                await thrown_out(client)  # and the broker keeps its last will
                await gone(home)
        assert await kept_presence(home) == barn  # a member's stays
    finally:
        await broker.stop()


async def kept_presence(home: Home) -> str:
    """The one presence that the broker keeps, as the operator reads it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(LinkError):  # it may be restarting once more
                async with mqtt_connect(_operator(home))() as link:
                    await link.subscribe(topic_filter(MESH, ANY, Channel.PRESENCE))
                    return (await link.receive()).topic


def _operator(home: Home) -> BrokerAccess:
    mesh = home.mesh
    url = home.url(home.device_port)
    return BrokerAccess(url, "looks-too", mesh.ca_file, mesh.operator_certificate, mesh.operator_key)


def test_a_broker_that_is_not_reached_is_named_with_what_stays_there(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(home.folder))
    home.joined("kitchen")
    result = CliRunner().invoke(app, ["device", "revoke", "kitchen"])
    assert result.exit_code == 0, result.output
    assert f"what kitchen left at {home.url(home.device_port)} was not removed ({', '.join(TOPICS)})" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "moamesh mesh serve removes it" in result.stderr


async def test_a_broker_whose_rules_are_older_is_told(tmp_path: Path, mosquitto: EmbeddedBroker) -> None:
    class Deaf:
        """An operator whom the broker lets read, and whose clearing it drops: as rules made before did."""

        def __init__(self, link: object) -> None:
            self.subscribe, self.receive = link.subscribe, link.receive  # type: ignore[attr-defined]  # a link

        async def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
            """Dropped."""

    access = BrokerAccess(mosquitto.url, "operator", tmp_path / "none")
    connect = mqtt_connect(access)
    async with connect() as link:
        await link.publish(TOPICS[0], b"online", retain=True)

    @contextlib.asynccontextmanager
    async def without_rights() -> AsyncIterator[Deaf]:
        async with connect() as link:
            yield Deaf(link)

    with pytest.raises(LinkError, match="it is still there: the broker's rules do not let the operator clear it"):
        await clear_for_good(MESH, "kitchen", without_rights, home_assistant=False)  # type: ignore[arg-type]  # as a link
    await clear_for_good(MESH, "kitchen", connect, home_assistant=False)


def test_rights_to_clear_are_the_operators_alone() -> None:
    from broker.access import People
    from broker.mosquitto_acl import certificate_acl

    rules = certificate_acl("home", home_assistant=True).splitlines()
    block = rules[rules.index("user operator") : rules.index("")]
    shared = [topic_filter("home", ANY, channel) for channel in (Channel.PRESENCE, Channel.STATUS)]
    for topic in (*shared, discovery_config("home", ANY)):
        assert f"topic write {topic}" in block
    assert not People((UserLogin("a", hash_password("x")),)).home_assistant
    assert discovery_config("home", ANY) not in certificate_acl("home")
