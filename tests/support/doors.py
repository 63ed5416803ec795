"""Addresses that a test can shut: a TCP proxy in front of a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Doorway:
    """One more address of a server on loopback. Shut, it refuses connections and has cut those that there were."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.passed = 0
        """Connections that went through."""
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Lets connections through, at the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cuts everybody off."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed += 1
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, there}
        try:
            await asyncio.gather(_copy(reader, there), _copy(there_reader, writer))
        finally:
            self._writers -= {writer, there}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def doorways(target_port: int, count: int) -> AsyncIterator[list[Doorway]]:
    """So many open addresses of one server."""
    doors = [Doorway(target_port) for _ in range(count)]
    try:
        for door in doors:
            await door.open()
        yield doors
    finally:
        for door in doors:
            await door.shut()
