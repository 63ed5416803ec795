"""What anybody in the network may shout by multicast DNS: counted and passed over, and those who belong are found."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edge_agent.adapters.discovery import (
    FOUND_MAX,
    SERVICE,
    UNRESOLVED_MAX,
    MdnsDiscovery,
    is_home,
    own_addresses,
)
from edge_agent.core.events import Event, PeerDiscovered
from edge_agent.tasks import Pauses
from tests.support.namespaces import Inside, network
from tests.support.polling import until

WAIT_S = 60.0
GOOD = PeerDiscovered("pantry", "mqtts://10.77.0.2:8883")
_TYPE = b"\x08_moamesh\x04_tcp\x05local\x00"
_PTR, _TXT, _SRV, _A = 12, 16, 33, 1


def _label(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 120, len(data)) + data


def _packet(*records: bytes) -> bytes:
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def announcement(
    instance: bytes = b"somebody",
    properties: tuple[bytes, ...] = (b"mesh=home", b"device=somebody", b"home=mqtts://10.77.0.3:8883"),
    port: int = 1,
    address: bytes = b"\x0a\x4d\x00\x03",
) -> bytes:
    """A whole announcement, as raw as it is sent."""
    name = (_label(instance) if instance else b"") + _TYPE
    text = b"".join(_label(one[:255]) for one in properties)
    host = _label(instance[:20] or b"x") + b"\x05local\x00"
    records = [_record(_TYPE, _PTR, name), _record(name, _TXT, text)]
    records.append(_record(name, _SRV, struct.pack("!HHH", 0, 0, port) + host))
    if address:
        records.append(_record(host, _A, address))
    return _packet(*records)


def with_home(home: bytes) -> bytes:
    return announcement(properties=(b"mesh=home", b"device=somebody", b"home=" + home))


SHOUTS: dict[str, bytes] = {
    "an instance name with U+0001": announcement(b"\x01"),
    "one with every control character": announcement(bytes(range(1, 32))),
    "one with U+007F": announcement(b"a\x7fb"),
    "one that is not UTF-8": announcement(b"\xff\xfe\xc3\x28"),
    "one of 63 bytes": announcement(b"x" * 63),
    "one with a dot and a slash": announcement(b"a.b/../c"),
    "one of an underscore": announcement(b"_"),
    "no instance at all": announcement(b""),
    "an alias outside the service": _packet(_record(_TYPE, _PTR, b"\x05other\x05local\x00")),
    "an alias of many labels": _packet(_record(_TYPE, _PTR, _label(b"l" * 60) * 3 + _TYPE)),
    "a pointer that points at itself": _packet(_record(_TYPE, _PTR, b"\xc0\x0c")),
    "text that is not UTF-8": announcement(properties=(b"mesh=home", b"device=\xff\xfe", b"home=\xc3\x28")),
    "keys that are not ASCII": announcement(properties=(b"\xffmesh=home", b"mesh=home", b"device=x\x00")),
    "text without a key": announcement(properties=(b"=", b"", b"mesh", b"device", b"home")),
    "a text record of its utmost length": announcement(properties=(b"mesh=home", *((b"k" * 200,) * 6))),
    "port 0 and no address": announcement(port=0, address=b""),
    "an address that is none": announcement(address=b"\x00\x00\x00\x00"),
    "no mesh": announcement(properties=(b"device=somebody", b"home=mqtts://10.77.0.3:8883")),
    "our own id": announcement(properties=(b"mesh=home", b"device=kitchen", b"home=mqtts://10.77.0.3:8883")),
    "an id that is none": announcement(properties=(b"mesh=home", b"device=Not/an+id", b"home=mqtts://10.77.0.3:1")),
    "a home of another port": with_home(b"mqtts://10.77.0.3:99999"),
    "a home with port 0": with_home(b"mqtts://10.77.0.3:0"),
    "a home that is a web page": with_home(b"https://10.77.0.3/"),
    "a home with a line break": with_home(b"mqtts://10.77.0.3:8883\nX"),
    "a home without a host": with_home(b"mqtts://:8883"),
    "half a packet": announcement()[:40],
    "nothing": b"",
}


class Listener:
    """A discovery in the namespace of a host, looked at from outside."""

    def __init__(self, namespace: str, home: str) -> None:
        self.found: list[Event] = []
        self.told: list[str] = []
        self.discovery: MdnsDiscovery | None = None
        self._home = home
        self._ends = False
        self._inside = Inside(namespace, self._listen)

    async def end(self) -> None:
        self._ends = True
        await self._inside.end(WAIT_S)

    async def _listen(self) -> None:
        async def emit(event: Event) -> None:
            self.found.append(event)

        self.discovery = MdnsDiscovery("kitchen", "home", self._home, self.told.append, Pauses(0.01, 0.02, 0.05))
        await self.discovery.start(emit)
        while not self._ends:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.02)
        await self.discovery.stop()


async def _hears(shout: Callable[[socket.socket], None], seen: Callable[[Listener], bool]) -> Listener:
    """Has one listen while another shouts and a third announces itself in order."""
    async with network(("one", "two", "three")) as net:
        listener = Listener(net.namespace("one"), f"mqtts://{net.address('one')}:8883")

        async def raw() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.bind((own_addresses()[0], 5353))
                out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
                while not seen(listener):
                    shout(out)
                    await asyncio.sleep(0.2)

        async def announce() -> None:
            zeroconf = AsyncZeroconf(interfaces=own_addresses())
            properties = {"mesh": "home", "device": "pantry", "home": GOOD.home_broker}
            service = AsyncServiceInfo(
                SERVICE,
                f"p.{SERVICE}",
                port=1,
                properties=properties,
                server="p.local.",
                parsed_addresses=["10.77.0.2"],
            )
            await zeroconf.async_register_service(service, cooperating_responders=True)
            while GOOD not in listener.found:  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.02)
            await zeroconf.async_close()

        try:
            await until(lambda: listener.discovery is not None, "it listens", WAIT_S)
            shouting = Inside(net.namespace("three"), raw)
            await until(lambda: seen(listener), "what was shouted is heard", WAIT_S)
            await shouting.end(WAIT_S)
            announcing = Inside(net.namespace("two"), announce)
            await until(lambda: GOOD in listener.found, "the one that belongs is found after it", WAIT_S)
            await announcing.end(WAIT_S)
        finally:
            await listener.end()
        return listener


async def test_whatever_is_shouted_is_passed_over_and_looking_goes_on() -> None:
    marked = PeerDiscovered("last", "mqtts://10.77.0.3:8883")
    last = announcement(b"last", (b"mesh=home", b"device=last", b"home=mqtts://10.77.0.3:8883"))

    def shout(out: socket.socket) -> None:
        for packet in (*SHOUTS.values(), last):
            out.sendto(packet, ("224.0.0.251", 5353))

    listener = await _hears(shout, lambda it: marked in it.found)
    assert set(listener.found) == {marked, GOOD, *(found for found in listener.found if _is_the_plain_one(found))}
    assert listener.discovery is not None
    assert listener.discovery.refused >= 5
    assert [line for line in listener.told if line] == [], "no task of it ended"


def _is_the_plain_one(event: Event) -> bool:
    """Some shouts differ from what is right only in what does not matter here: an odd name, an odd port."""
    return event == PeerDiscovered("somebody", "mqtts://10.77.0.3:8883")


@pytest.mark.parametrize("told", [True, False])
async def test_thousands_of_names_cost_a_bounded_amount(told: bool) -> None:
    """told: with records that can be read at once, or as names that nobody answers for."""
    count, sent = 3_000, 0

    def shout(out: socket.socket) -> None:
        nonlocal sent
        for number in range(sent, min(sent + 300, count)):
            device = b"flood-%d" % number
            properties = (b"mesh=home", b"device=" + device, b"home=mqtts://10.77.0.3:8883")
            whole = announcement(device, properties)
            out.sendto(whole if told else _packet(_record(_TYPE, _PTR, _label(device) + _TYPE)), ("224.0.0.251", 5353))
        sent = min(sent + 300, count)

    listener = await _hears(shout, lambda it: sent >= count and it.discovery is not None and it.discovery.missed > 0)
    discovery = listener.discovery
    assert discovery is not None
    assert len(discovery._unresolved) <= UNRESOLVED_MAX
    assert len(discovery._found) <= FOUND_MAX
    assert [line for line in listener.told if line] == []


@pytest.mark.parametrize("home", ["mqtt://a:1883", "mqtts://[fe80::1]:8883", "mqtts://a:1,mqtts://b:2", "mqtts://a"])
def test_homes_that_are_urls_are_taken(home: str) -> None:
    assert is_home(home)
