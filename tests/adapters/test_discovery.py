"""Devices that find each other by multicast DNS, in namespaces on a switch of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edge_agent.adapters.discovery import SERVICE, MdnsDiscovery, own_addresses, reachable_address
from edge_agent.core.events import Event, PeerDiscovered
from tests.support.namespaces import Inside, Network, network
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

HOSTS = ("one", "two", "three")


class Seeker:
    """A device that looks for others, in the namespace of a host, until it is ended."""

    def __init__(self, net: Network, host: str, device_id: str, mesh: str = "home") -> None:
        self.home = f"mqtts://{net.address(host)}:8883"
        self.found: list[Event] = []
        self._device_id = device_id
        self._mesh = mesh
        self._ends = False
        self._inside = Inside(net.namespace(host), self._seek)

    def has(self, other: Seeker) -> bool:
        return PeerDiscovered(other._device_id, other.home) in self.found

    async def end(self) -> None:
        self._ends = True
        await self._inside.end(PATIENCE_S)

    async def _seek(self) -> None:
        async def emit(event: Event) -> None:
            self.found.append(event)

        discovery = MdnsDiscovery(self._device_id, self._mesh, self.home)
        await discovery.start(emit)
        while not self._ends:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.05)
        await discovery.stop()


@contextlib.asynccontextmanager
async def seekers(*made: Seeker) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for one in made:
            await one.end()


async def test_devices_of_one_mesh_find_each_other_and_nobody_else() -> None:
    async with network(HOSTS) as net:
        kitchen, pantry = Seeker(net, "one", "kitchen"), Seeker(net, "two", "pantry")
        stranger = Seeker(net, "three", "cellar", mesh="neighbours")
        namesake = Seeker(net, "three", "kitchen", mesh="neighbours-2")
        async with seekers(kitchen, pantry, stranger, namesake):
            await until(lambda: kitchen.has(pantry) and pantry.has(kitchen), "they find each other", PATIENCE_S)
            late = Seeker(net, "three", "attic")
            async with seekers(late):
                await until(lambda: kitchen.has(late) and pantry.has(late), "the newcomer is found", PATIENCE_S)
                await until(lambda: late.has(kitchen) and late.has(pantry), "it finds those before it", PATIENCE_S)
            assert stranger.found == []
            assert namesake.found == []
            assert {event.device_id for event in kitchen.found if isinstance(event, PeerDiscovered)} == {
                *("pantry", "attic")
            }


async def test_a_network_that_comes_up_later_is_used() -> None:
    async with network(HOSTS) as net:
        net.unplug("one")
        booting, there = Seeker(net, "one", "kitchen"), Seeker(net, "two", "pantry")
        async with seekers(booting, there):
            await asyncio.sleep(0.5)
            net.plug("one")
            await until(lambda: booting.has(there) and there.has(booting), "they find each other", PATIENCE_S)


async def test_made_up_announcements_are_passed_over() -> None:
    good = {"mesh": "home", "device": "good", "home": "mqtts://10.77.0.3:8883"}
    bad = (
        good | {"device": "Not/an+id"},
        good | {"device": ""},
        good | {"home": ""},
        good | {"home": "mqtts://x\n10.0.0.1"},
        good | {"device": "kitchen"},
        {"mesh": "home"},
        {},
    )

    async def shout() -> None:
        zeroconf = AsyncZeroconf(interfaces=own_addresses())
        for number, properties in enumerate((*bad, good)):
            name = f"shout-{number}"
            service = AsyncServiceInfo(
                SERVICE,
                f"{name}.{SERVICE}",
                port=1,
                properties=properties,
                server=f"{name}.local.",
                parsed_addresses=["10.77.0.3"],
            )
            await zeroconf.async_register_service(service, cooperating_responders=True)
        while not kitchen.found:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.05)
        await zeroconf.async_close()

    async with network(HOSTS) as net:
        kitchen = Seeker(net, "one", "kitchen")
        async with seekers(kitchen):
            shouting = Inside(net.namespace("three"), shout)
            await until(lambda: bool(kitchen.found), "the good one", PATIENCE_S)
            await shouting.end(PATIENCE_S)
            assert set(kitchen.found) == {PeerDiscovered("good", "mqtts://10.77.0.3:8883")}  # once, or after each query


@pytest.mark.parametrize("host", HOSTS[:1])
async def test_without_a_way_out_the_address_is_that_of_the_interface(host: str) -> None:
    found: list[str] = []

    async def look() -> None:
        found.append(reachable_address())

    async with network(HOSTS[:1]) as net:
        await Inside(net.namespace(host), look).end(PATIENCE_S)
        net.unplug(host)
        await Inside(net.namespace(host), look).end(PATIENCE_S)
        assert found == [net.address(host), ""]


async def test_a_discovery_that_never_had_a_network_stops_at_once() -> None:
    discovery = MdnsDiscovery("kitchen", "home", "mqtts://kitchen.local:8883")
    await discovery.stop()
