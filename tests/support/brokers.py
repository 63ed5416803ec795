"""Real brokers on free loopback ports. A folder's conftest imports the fixtures it uses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest

from broker.embedded import EmbeddedBroker
from broker.kinds import find_mosquitto
from edge_agent.children import ChildProcess
from tests.support.polling import until
from tests.support.ports import free_ports


@pytest.fixture
async def mosquitto() -> AsyncIterator[EmbeddedBroker]:
    """A mosquitto of this test alone."""
    async with EmbeddedBroker(kind="mosquitto") as broker:
        yield broker


@pytest.fixture(params=["mosquitto", "iotcore"])
async def any_broker(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedBroker]:
    """Each kind of embedded broker in turn."""
    async with EmbeddedBroker(kind=request.param) as broker:
        yield broker


class MosquittoWith:
    """A mosquitto of one test, set as public ones are: `async with MosquittoWith(folder, "max_qos 0") as broker`."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        self._settings = settings
        self._child: ChildProcess | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, *settings: str) -> None:
        """Starts it, with other settings than before if some are given."""
        self._settings = settings or self._settings
        anonymous = [] if any("allow_anonymous" in line for line in self._settings) else ["allow_anonymous true"]
        lines = ("user root", f"listener {self.port} 127.0.0.1", *anonymous, "set_tcp_nodelay true", *self._settings)
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program = find_mosquitto() or "mosquitto"
        self._child = ChildProcess([program, "-c", str(self._config), "-v"], self._log)
        await self._child.start()
        await until(lambda: _listens(self.port), f"mosquitto with {self._settings}")

    async def stop(self) -> None:
        """Ends it, at once."""
        if self._child is not None:
            await self._child.kill()
            self._child = None


def _listens(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex(("127.0.0.1", port)) == 0


class SayingBroker:
    """A listener that answers every CONNECT with one given packet, and then keeps quiet or hangs up.

    then: what it answers to anything else. grants: the codes of its answer to every subscription.
    """

    def __init__(self, answer: bytes, *, then: bytes = b"", grants: bytes = b"", hang_up: bool = True) -> None:
        self.port = free_ports(1)[0]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.connects = 0
        self._answer = answer
        self._then = then
        self._grants = grants
        self._hang_up = hang_up
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.connects += 1
        with contextlib.suppress(OSError):
            await reader.read(4096)
            writer.write(self._answer)
            await writer.drain()
            while await self._answered(reader, writer):
                pass
        writer.transport.abort()
        self._open.discard(writer)

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._hang_up and not self._then:
            return False
        packet = await reader.read(4096)
        if packet[:1] == b"\x82" and self._grants:
            number = packet[2:4] if packet[1] < 0x80 else packet[3:5]  # behind a length of one byte or two
            writer.write(bytes([0x90, 3 + len(self._grants)]) + number + b"\0" + self._grants)
            await writer.drain()
        elif packet and self._then:
            writer.write(self._then)
            await writer.drain()
        return bool(packet) and not self._hang_up


def connack(reason: int, properties: bytes = b"") -> bytes:
    """A CONNACK of MQTT 5."""
    return bytes([0x20, 3 + len(properties), 0, reason, len(properties)]) + properties
