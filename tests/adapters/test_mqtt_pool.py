"""A broker on every device: connections to other devices' home brokers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.mqtt import parse_home
from edge_agent.core import messages as m
from edge_agent.core.events import PeerMessageReceived
from tests.adapters.mqtt_devices import Device, device, entry, request, until
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def mesh(names: str, **settings: object) -> AsyncIterator[dict[str, tuple[Device, EmbeddedBroker]]]:
    """A device with a broker of its own for each letter."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, tuple[Device, EmbeddedBroker]] = {}
        for name in names:
            own = await stack.enter_async_context(EmbeddedBroker(kind="mosquitto"))
            found[name] = (await stack.enter_async_context(device(name, own.url, **settings)), own)
        yield found


def away(one: Device) -> list[str]:
    return [str(url) for home in one.transport._away.homes for url in home]


async def test_a_message_goes_to_the_home_broker_of_its_device() -> None:
    async with mesh("ab") as found:
        (a, home_a), (b, home_b) = found["a"], found["b"]
        a.transport.send_to_device("b", home_b.url, request(1), 30.0)
        await b.arrival(PeerMessageReceived)
        b.transport.send_to_device("a", home_a.url, m.RequestReceipt("r1", "b", None, 0, None), 30.0)
        await a.arrival(PeerMessageReceived)
        assert away(a) == [home_b.url]
        assert a.of(PeerMessageReceived)[0].message == m.RequestReceipt("r1", "b", None, 0, None)


async def test_the_first_gossip_to_a_new_home_is_not_lost() -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        hello = m.ViewExchange((entry("a"),), True)
        a.transport.send_to_device("b", home_b.url, hello, None)
        assert (await b.arrival(PeerMessageReceived)).message == hello


async def test_ones_own_home_needs_no_second_connection_whatever_it_is_called(mosquitto: EmbeddedBroker) -> None:
    alias = f"mqtt://localhost:{mosquitto.port}"
    async with device("a", mosquitto.url, home_aliases=(alias,)) as a, device("b", mosquitto.url) as b:
        for number, home in enumerate(("", mosquitto.url, mosquitto.url.upper().replace("MQTT", "mqtt") + "/", alias)):
            a.transport.send_to_device("b", home, request(number), None)
        await b.arrival(PeerMessageReceived, 4)
        assert away(a) == []


async def test_the_least_recently_used_home_is_left_and_never_ones_own() -> None:
    async with mesh("abcd", away_max=2) as found:
        a, home_a = found["a"]
        for step, name in enumerate("bcbdb"):
            target, home = found[name]
            before = len(target.of(PeerMessageReceived))
            a.transport.send_to_device(name, home.url, request(step), None)
            await target.arrival(PeerMessageReceived, before + 1)
        assert away(a) == [found["d"][1].url, found["b"][1].url]
        assert a.transport.counters.away_evicted == 1
        await until(lambda: not a.transport._away.closing, "the end of the connection that was left")
        assert a.transport.connected
        a.transport.send_to_device("c", found["c"][1].url, request(9), None)
        await found["c"][0].arrival(PeerMessageReceived, 2)
        assert parse_home(home_a.url) not in a.transport._away.homes


async def test_an_unusable_home_url_is_counted_and_harms_nothing(mosquitto: EmbeddedBroker) -> None:
    async with device("a", mosquitto.url) as a, device("b", mosquitto.url) as b:
        for home in ("nonsense", "http://127.0.0.1", "mqtt://user:secret@127.0.0.1", "mqtt://"):
            a.transport.send_to_device("b", home, request(1), None)
        assert a.transport.counters.bad_homes == 4
        a.transport.send_to_device("b", "", request(2), None)
        assert (await b.arrival(PeerMessageReceived)).message == request(2)


async def test_a_flood_of_dead_homes_stays_within_its_bound(mosquitto: EmbeddedBroker) -> None:
    before = len(asyncio.all_tasks())
    async with device("a", mosquitto.url, away_max=3, flush_s=0.1) as a:
        for port in range(1, 60):
            a.transport.send_to_device("b", f"mqtt://127.0.0.1:{port}", request(port), None)
        assert len(away(a)) <= 3
        assert a.transport._away.closing <= 3
        assert a.transport.counters.bad_homes >= 50
        assert a.transport.connected
    assert len(asyncio.all_tasks()) <= before


async def test_a_dead_home_does_not_hold_up_others() -> None:
    async with mesh("ab") as found:
        (a, _), (b, home_b) = found["a"], found["b"]
        a.transport.send_to_device("c", "mqtt://127.0.0.1:1", request(1), 10 * PATIENCE_S)
        a.transport.send_to_device("b", home_b.url, request(2), 30.0)
        assert (await b.arrival(PeerMessageReceived)).message == request(2)
