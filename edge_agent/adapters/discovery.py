"""Finding other devices of the mesh in the local network, and being found: multicast DNS (zeroconf).

What is found proves nothing: anybody in the network can announce anything. It only says whom to ask who else is there;
whether the one who answers is a member shows when the connection is made, by its certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import socket
from collections.abc import Coroutine
from urllib.parse import urlsplit

import ifaddr
from zeroconf import NotRunningException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edge_agent.core.events import PeerDiscovered
from edge_agent.ports import EmitEvent
from edge_agent.wire.topics import is_id

log = logging.getLogger(__name__)

SERVICE = "_moamesh._tcp.local."
RESOLVE_TIMEOUT_S = 3.0  # a device in reach answers in a tenth of a second
UNRESOLVED_MAX = 64  # names waiting to be looked up: anybody in the network can announce more
INTERFACES_EVERY_S = 5.0  # a network that comes up later, as on a device that boots, is used from then on
HOME_LENGTH_MAX = 250  # with its key it must fit into one TXT string of 255 bytes


class MdnsDiscovery:
    """`ports.Discovery` by multicast DNS on all interfaces.

    Args:
        device_id, mesh: who this is; only devices of the same mesh are told.
        home_broker: where others reach this device.
    """

    def __init__(self, device_id: str, mesh: str, home_broker: str) -> None:
        self._device_id = device_id
        self._mesh = mesh
        self._service = _describe(device_id, mesh, home_broker)
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._unresolved: asyncio.Queue[str] = asyncio.Queue(UNRESOLVED_MAX)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, emit: EmitEvent) -> None:
        """Begins to announce this device and to look for others; `emit` gets `PeerDiscovered` for each."""
        self._spawn(self._keep_open(), "mdns")
        self._spawn(self._resolve_all(emit), "mdns names")

    async def stop(self) -> None:
        """Takes back the announcement and ends. May be called at any time."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        if self._zeroconf is not None:
            with contextlib.suppress(OSError, NotRunningException):
                await self._zeroconf.async_close()
            self._zeroconf = None

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _keep_open(self) -> None:
        """Opens when there is a network, and follows its changes: multicast goes by interface."""
        known: frozenset[str] = frozenset()
        while True:
            addresses = frozenset(own_addresses())
            if addresses and addresses != known:
                try:
                    await self._open_on(addresses)
                    known = addresses
                except (OSError, RuntimeError, NotRunningException) as error:
                    log.info("mDNS: %s; trying again", error)
            await asyncio.sleep(INTERFACES_EVERY_S)

    async def _open_on(self, addresses: frozenset[str]) -> None:
        interfaces = sorted(addresses)
        if self._zeroconf is None:
            self._zeroconf = AsyncZeroconf(interfaces=interfaces)
            await self._zeroconf.zeroconf.async_wait_for_start()
        else:
            await self._zeroconf.async_update_interfaces(interfaces)
        if self._browser is None:
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE, handlers=[self._changed])
            # its name holds a digest of mesh and device, so there is nobody to ask whether it is taken
            await self._zeroconf.async_register_service(self._service, cooperating_responders=True)

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed and name != self._service.name:
            with contextlib.suppress(asyncio.QueueFull):  # a flood; who is missed announces itself again
                self._unresolved.put_nowait(name)

    async def _resolve_all(self, emit: EmitEvent) -> None:
        while True:
            name = await self._unresolved.get()
            found = await self._resolve(name)
            if found is not None:
                log.info("found %s at %s in the local network", found.device_id, found.home_broker)
                await emit(found)

    async def _resolve(self, name: str) -> PeerDiscovered | None:
        if self._zeroconf is None:
            return None
        service = AsyncServiceInfo(SERVICE, name)
        with contextlib.suppress(NotRunningException):
            await service.async_request(self._zeroconf.zeroconf, RESOLVE_TIMEOUT_S * 1000)
        told = service.decoded_properties
        mesh, device_id, home = told.get("mesh"), told.get("device") or "", told.get("home") or ""
        usable = is_id(device_id) and 0 < len(home) <= HOME_LENGTH_MAX and home.isprintable()
        if mesh != self._mesh or not usable or device_id == self._device_id:
            return None
        return PeerDiscovered(device_id, home)


def own_addresses() -> list[str]:
    """Returns this host's IPv4 addresses, loopback left out."""
    found = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str))
    return [address for address in found if not ipaddress.ip_address(address).is_loopback]


def reachable_address() -> str:
    """Returns the address under which the local network most likely reaches this host, "" if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which way it would go (an address of no network)
        address: str = probe.getsockname()[0]
        return address
    return next(iter(own_addresses()), "")


def _describe(device_id: str, mesh: str, home_broker: str) -> AsyncServiceInfo:
    digest = hashlib.blake2s(f"{mesh}/{device_id}".encode(), digest_size=6).hexdigest()
    label = f"{device_id[:40]}-{digest}"  # a DNS label has at most 63 bytes
    where = urlsplit(home_broker)
    try:
        addresses = [str(ipaddress.ip_address(where.hostname or ""))]
    except ValueError:
        addresses = own_addresses()
    return AsyncServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        port=where.port or 0,
        properties={"mesh": mesh, "device": device_id, "home": home_broker},
        server=f"{label}.local.",
        parsed_addresses=addresses,
    )
