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
import random
import socket
from collections import OrderedDict
from urllib.parse import urlsplit

import ifaddr
from zeroconf import NotRunningException, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edge_agent.core.events import PeerDiscovered
from edge_agent.ports import EmitEvent
from edge_agent.tasks import Pauses, ProblemListener, TaskSupervisor, log_only
from edge_agent.wire.topics import is_id

log = logging.getLogger(__name__)

SERVICE = "_moamesh._tcp.local."
RESOLVE_TIMEOUT_S = 3.0  # a device in reach answers in a tenth of a second
RESOLVERS = 8  # names looked up at once: some that nobody answers for must not keep the others waiting
UNRESOLVED_MAX = 64  # names waiting to be looked up: anybody in the network can announce more
FOUND_MAX = 64  # devices waiting for the agent to take them; the oldest leave, and announce themselves again
TELL_PAUSE_S = 0.02  # between two: whoever invents thousands must not crowd out what peers and users say
REMEMBERED_MAX = 256  # devices whose finding has been logged: a line each, not one for each announcement
INTERFACES_EVERY_S = 5.0  # a network that comes up later, as on a device that boots, is used from then on
HOME_LENGTH_MAX = 250  # with its key it must fit into one TXT string of 255 bytes


class MdnsDiscovery:
    """`ports.Discovery` by multicast DNS on all interfaces.

    Args:
        device_id, mesh: who this is; only devices of the same mesh are told.
        home_broker: where others reach this device.
        told: hears in one line that looking goes wrong in a way nobody foresaw, and "" when it goes well again.
    """

    def __init__(
        self,
        device_id: str,
        mesh: str,
        home_broker: str,
        on_problem: ProblemListener = log_only,
        pauses: Pauses | None = None,
    ) -> None:
        self.refused = 0
        """Announcements that were none: names or records that cannot be, homes that are no URL."""
        self.missed = 0
        """Announcements dropped because too many came at once; who is missed announces itself again."""
        self._device_id = device_id
        self._mesh = mesh
        self._service = _describe(device_id, mesh, home_broker)
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._announced = False
        self._unresolved: OrderedDict[str, None] = OrderedDict()
        self._found: OrderedDict[PeerDiscovered, None] = OrderedDict()
        self._logged: OrderedDict[PeerDiscovered, None] = OrderedDict()
        self._to_resolve = asyncio.Event()
        self._to_tell = asyncio.Event()
        self._tasks = TaskSupervisor("mDNS", on_problem, pauses)

    async def start(self, emit: EmitEvent) -> None:
        """Begins to announce this device and to look for others; `emit` gets `PeerDiscovered` for each."""
        self._tasks.keep("interfaces", self._keep_open)
        self._tasks.keep("telling", lambda: self._tell_all(emit))
        for number in range(RESOLVERS):
            self._tasks.keep(f"names {number}", self._resolve_all)

    async def stop(self) -> None:
        """Takes back the announcement and ends. May be called at any time."""
        await self._tasks.stop()
        try:
            if self._browser is not None:
                await self._browser.async_cancel()
            if self._zeroconf is not None:
                await self._zeroconf.async_close()
        except (OSError, RuntimeError, NotRunningException) as error:  # the network went first
            log.info("mDNS: %s while stopping", error)
        self._browser, self._zeroconf, self._announced = None, None, False

    async def _keep_open(self) -> None:
        """Opens when there is a network, and follows its changes: multicast goes by interface."""
        known: frozenset[str] = frozenset()
        while True:
            try:
                addresses = frozenset(own_addresses())
                if addresses and addresses != known:
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
        if not self._announced:
            # its name holds a digest of mesh and device, so there is nobody to ask whether it is taken
            await self._zeroconf.async_register_service(self._service, cooperating_responders=True)
            self._announced = True

    # --- what is heard: anybody in the network may say anything, so nothing here may raise -------------------------

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed or name == self._service.name:
            return
        service = self._service_called(name)
        if service is None:
            return
        try:
            complete = service.load_from_cache(zeroconf)  # usually all of it came in the same packet
        except Exception as error:  # a record that the library cannot read
            self._refuse(name, error)
            return
        if complete:
            self._take(service)
            return
        if name not in self._unresolved and len(self._unresolved) >= UNRESOLVED_MAX:
            # any of them, so that a flood cannot keep a true one out for certain
            del self._unresolved[random.choice(tuple(self._unresolved))]  # noqa: S311 - guards nothing
            self.missed += 1
        self._unresolved[name] = None
        self._to_resolve.set()

    async def _resolve_all(self) -> None:
        while True:
            while not self._unresolved:
                self._to_resolve.clear()
                await self._to_resolve.wait()
            name, _ = self._unresolved.popitem(last=False)
            service = self._service_called(name)
            if service is None or self._zeroconf is None:
                continue
            try:
                complete = await service.async_request(self._zeroconf.zeroconf, RESOLVE_TIMEOUT_S * 1000)
            except NotRunningException:
                continue
            except Exception as error:  # a record that the library cannot read
                self._refuse(name, error)
                continue
            if complete:
                self._take(service)

    def _service_called(self, name: str) -> AsyncServiceInfo | None:
        try:
            return AsyncServiceInfo(SERVICE, name)
        except Exception as error:  # no name of a service: a control character, an empty or an endless label
            self._refuse(name, error)
            return None

    def _take(self, service: AsyncServiceInfo) -> None:
        try:
            told = service.decoded_properties
        except Exception as error:  # text that is none
            self._refuse(service.name, error)
            return
        device_id, home = told.get("device") or "", told.get("home") or ""
        if told.get("mesh") != self._mesh or device_id == self._device_id:
            return
        if not (is_id(device_id) and is_home(home)):
            self._refuse(service.name, ValueError("it names no device or no home broker"))
            return
        found = PeerDiscovered(device_id, home)
        self._found[found] = None
        while len(self._found) > FOUND_MAX:
            self._found.popitem(last=False)
            self.missed += 1
        self._to_tell.set()

    def _refuse(self, name: str, error: Exception) -> None:
        self.refused += 1
        log.debug("mDNS: %.80r is not a valid announcement: %s", name, error)

    async def _tell_all(self, emit: EmitEvent) -> None:
        while True:
            while not self._found:
                self._to_tell.clear()
                await self._to_tell.wait()
            found, _ = self._found.popitem(last=False)
            if found not in self._logged:
                log.info("found %s at %s in the local network", found.device_id, found.home_broker)
                self._logged[found] = None
                if len(self._logged) > REMEMBERED_MAX:
                    self._logged.popitem(last=False)
            await emit(found)
            await asyncio.sleep(TELL_PAUSE_S)


def is_home(text: str) -> bool:
    """Whether this can be where a device is at home: broker URLs, with commas between them."""
    if not text.isprintable() or len(text) > HOME_LENGTH_MAX:
        return False
    try:
        parts = [(url.scheme, url.hostname, url.port) for url in map(urlsplit, text.split(","))]
    except ValueError:  # a port that is none
        return False
    return all(scheme in ("mqtt", "mqtts") and host and port != 0 for scheme, host, port in parts)


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
