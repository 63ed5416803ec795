"""Finds out whether a home that somebody told of is one: before this device dials it as it dials its own.

A connection of the MQTT library takes a thread of the pool that the whole agent shares, for as long as nobody answers.
So a home is first looked at without: over TLS its certificate must be good for the device or the host
(`edge_agent.homes`), without TLS a broker must let this device in. Nothing is said over TLS, and nothing but a CONNECT
without.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

from edge_agent.adapters.mqtt.settings import MqttSettings
from edge_agent.homes import Host, check
from edge_agent.hosts import address_of
from edge_agent.mqtt import BrokerUrl, TlsFiles, whoms_at
from edge_agent.tls import client_context

PROOF_S = 3.0  # as long as a connect may take; looking a name up and the handshake are in it
LOOKUPS_MAX = 8  # names looked up at a time: one that nobody has takes its thread some seconds
ADDRESSES_MAX = 4  # of one name
CONNACK = 0x20
_DISCONNECT = b"\xe0\x00"


class NoBrokerError(OSError):
    """What answers is no broker, or lets this device not in."""


class StillLookedUpError(OSError):
    """Another name of this device's waits for its resolver."""


@final
class Prover:
    """Looks at homes. Use it in one event loop; `stop` it in the end.

    Its threads are its own: homes that nobody answers at must not keep the agent's from others. Nor may names that no
    resolver answers for, whose threads outlive their proofs: a device has one of them at most, addresses need none.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._named = settings.named_hosts
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="home lookup")
        self._files = ThreadPoolExecutor(1, thread_name_prefix="home certificates")
        self._looking: dict[str, Future[list[str]]] = {}

    def stop(self) -> None:
        """Waits for nothing: a lookup under way ends by itself."""
        for threads in (self._threads, self._files):
            threads.shutdown(wait=False, cancel_futures=True)

    async def prove(self, url: BrokerUrl, device_id: str) -> bool:
        """Returns whether the broker there serves everybody at its host; `False`: `device_id` alone.

        Raises:
            SSLCertVerificationError: it is no home of this device's: trying again changes nothing.
            OSError, ValueError, TimeoutError: it does not answer, or a certificate file of ours is damaged.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PROOF_S):
            addresses = [url.host] if address_of(url.host) is not None else await self._look_up(url, device_id)
            context = await loop.run_in_executor(self._files, self._context) if url.tls else None
            reader, writer = await _open(url, addresses, context)
            try:
                if context is None:
                    await self._ask(reader, writer)
                    return True
                served = check(writer.get_extra_info("peercert"), whoms_at(url, device_id, self._named))
                return any(isinstance(whom, Host) for whom in served)
            finally:
                writer.transport.abort()

    async def _look_up(self, url: BrokerUrl, device_id: str) -> list[str]:
        self._looking = {name: lookup for name, lookup in self._looking.items() if not lookup.done()}
        if device_id in self._looking:
            raise StillLookedUpError(f"a host name given as the home broker of {device_id} is still being looked up")
        lookup = self._looking[device_id] = self._threads.submit(_addresses, url)
        return await asyncio.wrap_future(lookup)

    def _context(self) -> ssl.SSLContext:
        files = self._settings.tls or TlsFiles()
        context = client_context(files.ca, files.certificate, files.key, files.revoked)
        if files.ca is not None:
            context.check_hostname = False  # `check` does it, and knows kinds
        return context

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client_id = self._settings.passing_client_id().encode()
        body = b"\x00\x04MQTT\x05\x02\x00\x05\x00" + len(client_id).to_bytes(2, "big") + client_id
        length = bytes([len(body)]) if len(body) < 0x80 else bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
        writer.write(b"\x10" + length + body)
        try:
            head = await reader.readexactly(5)
        except asyncio.IncompleteReadError:
            raise NoBrokerError("closed the connection before a CONNACK") from None
        if head[0] != CONNACK or head[3 if head[1] < 0x80 else 4] != 0:
            raise NoBrokerError("no broker there accepts this device")
        writer.write(_DISCONNECT)
        with contextlib.suppress(OSError):
            await writer.drain()


def _addresses(url: BrokerUrl) -> list[str]:
    found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:ADDRESSES_MAX]


async def _open(
    url: BrokerUrl, addresses: list[str], context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = url.host.partition("%")[0] if context is not None else None
    failed: OSError = OSError("no address")
    for address in addresses:  # numbers: asyncio then looks nothing up in threads that others need
        try:
            return await asyncio.open_connection(address, url.port, ssl=context, server_hostname=name)
        except ssl.SSLError:
            raise
        except OSError as error:
            failed = error
    raise failed
