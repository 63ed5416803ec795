"""Homes with several addresses: devices move over when one dies, and miss nothing that matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.mosquitto import MosquittoBroker
from edge_agent.adapters.mqtt import MqttSettings
from edge_agent.core import messages as m
from edge_agent.core.errors import SettingsError
from edge_agent.core.events import ConnectionChanged, PeerMessageReceived
from edge_agent.mqtt import TlsFiles, parse_home
from tests.adapters.mqtt_devices import Device, device, presence, request, until
from tests.support.doors import Doorway, doorways
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker


def home_of(doors: list[Doorway]) -> str:
    return ",".join(f"mqtt://127.0.0.1:{door.port}" for door in doors)


def door_of(one: Device, doors: list[Doorway]) -> Doorway:
    assert one.transport._home is not None
    return next(door for door in doors if door.port == one.transport._home.url.port)


async def test_a_device_moves_to_the_next_address_when_its_own_dies_and_back_again(mosquitto: EmbeddedBroker) -> None:
    async with (
        doorways(mosquitto.port, 3) as doors,
        device("b", mosquitto.url) as b,
        device("a", home_of(doors)) as a,
    ):
        a.transport.publish_presence(presence("a", m.PresenceState.ONLINE))
        await b.arrival(PeerMessageReceived)
        for moves in range(1, 7):
            door = door_of(a, doors)
            await door.shut()
            await a.connection(True, 1 + moves)
            assert door_of(a, doors) is not door
            b.transport.send_to_device("a", "", request(moves, origin="b"), 60.0)
            await until(lambda n=moves: _has(a, n), f"request {moves}")
            await door.open()
        told = [e for e in b.of(PeerMessageReceived) if e.message == presence("a", m.PresenceState.ONLINE)]
        assert len(told) >= 7, "presence is told again after every move: the next node may never have heard of it"


def _has(one: Device, number: int) -> bool:
    asked = [request(number, origin=origin) for origin in ("a", "b")]
    return any(event.message in asked for event in one.of(PeerMessageReceived))


async def test_dead_addresses_do_not_keep_a_device_from_the_one_that_lives(mosquitto: EmbeddedBroker) -> None:
    async with doorways(mosquitto.port, 4) as doors:
        for door in doors[:3]:
            await door.shut()
        # pauses of minutes would follow if they grew with each address instead of each round
        async with device("a", home_of(doors), backoff_min_s=0.2, backoff_max_s=600.0) as a:
            assert door_of(a, doors) is doors[3]


async def test_devices_spread_over_the_addresses(mosquitto: EmbeddedBroker) -> None:
    async with doorways(mosquitto.port, 2) as doors:
        for _ in range(40):
            one = Device("a", home_of(doors))
            await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
            await one.connection(True)
            await one.transport.stop()
            if all(door.passed for door in doors):
                return
        raise AssertionError(f"one address is preferred: {[door.passed for door in doors]}")


async def test_all_addresses_of_a_cluster_are_one_home_in_any_order(mosquitto: EmbeddedBroker) -> None:
    async with (
        doorways(mosquitto.port, 2) as doors,
        device("a", home_of(doors)) as a,
        device("b", home_of(doors)) as b,
    ):
        for number, home in enumerate((home_of(doors), home_of(doors[::-1]), home_of(doors[1:]), "")):
            a.transport.send_to_device("b", home, request(number), 30.0)
            await until(lambda n=number: _has(b, n), home)
        assert a.transport._away.homes == []


async def test_a_message_for_a_cluster_elsewhere_goes_to_the_node_that_lives(mosquitto: EmbeddedBroker) -> None:
    async with (
        EmbeddedBroker(kind="mosquitto") as elsewhere,
        doorways(elsewhere.port, 2) as doors,
        device("a", mosquitto.url) as a,
        device("b", elsewhere.url) as b,
    ):
        home = home_of(doors)
        for number, door in enumerate((*doors, *doors)):
            await door.shut()
            a.transport.send_to_device("b", home, request(number), 60.0)
            await until(lambda n=number: _has(b, n), f"request {number}")
            await door.open()
        assert a.transport._away.homes == [parse_home(home)]


async def test_over_tls_and_access_rules_devices_move_to_the_other_address_of_the_same_broker(tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path, "test")
    files = mesh.broker_files(tmp_path / "broker")
    tls = {}
    for name in ("a", "b"):
        credentials = mesh.device(name)
        tls[name] = TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key), str(mesh.crl))
    async with MosquittoBroker(files), doorways(files.config.listeners.devices, 2) as doors:
        home = home_of(doors).replace("mqtt:", "mqtts:")
        async with device("a", home, tls=tls["a"]) as a, device("b", home, tls=tls["b"]) as b:
            for number, door in enumerate((*doors, *doors)):
                await door.shut()
                a.transport.send_to_device("b", home, request(number), 60.0)
                b.transport.send_to_device("a", home, request(number, origin="b"), 60.0)
                for one in (a, b):
                    await until(lambda one=one, n=number: _has(one, n), f"request {number} at {one.device_id}")
                await door.open()


async def test_a_lost_connection_is_said_before_the_new_one(mosquitto: EmbeddedBroker) -> None:
    async with doorways(mosquitto.port, 2) as doors, device("a", home_of(doors)) as a:
        await door_of(a, doors).shut()
        await a.connection(True, 2)
        assert a.of(ConnectionChanged) == [ConnectionChanged(c) for c in (True, False, True)]


@pytest.mark.parametrize(
    "home",
    [
        "mqtt://a:1,http://b:2",
        "mqtt://a:1,",
        "mqtt://a:1,mqtts://b:2",
        ",".join(f"mqtt://node-{number}:1883" for number in range(9)),
    ],
)
def test_a_home_that_is_none_is_refused(home: str) -> None:
    with pytest.raises(SettingsError):
        MqttSettings("a", "test", home)


def test_an_address_named_twice_counts_once() -> None:
    assert parse_home("mqtt://A:1883, mqtt://a") == parse_home("mqtt://a:1883")
