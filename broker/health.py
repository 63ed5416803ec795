"""Whether a broker answers on a TLS port, asked without any right to be let in."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge_agent.wire import client_ids

_CONNACK = 0x20


@final
@dataclass(frozen=True, slots=True)
class TlsHealth:
    """Speaks MQTT over TLS to a listener. A refusal is an answer too: the broker lives and works its queue.

    certificate, key: with them it is let in where a certificate is demanded. Without, a finished handshake must do
        there, since the broker hangs up after it.
    """

    host: str
    port: int
    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    demands_certificate: bool = False

    async def answers(self, timeout_s: float) -> bool:
        """Whether it answered in time; also `False` while its files are being replaced."""
        try:
            async with asyncio.timeout(timeout_s):
                context = await asyncio.to_thread(self._context)
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
                try:
                    if self.demands_certificate and self.certificate is None:
                        return True
                    writer.write(_connect_packet())
                    await writer.drain()
                    return (await reader.readexactly(1))[0] == _CONNACK
                finally:
                    writer.transport.abort()  # a goodbye over TLS would wait for a broker that hangs
        except (OSError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError):
            return False

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False  # it is asked by its address on this machine; its CA is what counts
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


def _connect_packet() -> bytes:
    client_id = client_ids.unguessable("health").encode()
    variable = b"\x00\x04MQTT\x05\x02\x00\x05\x00" + len(client_id).to_bytes(2, "big") + client_id
    return bytes([0x10, len(variable)]) + variable
