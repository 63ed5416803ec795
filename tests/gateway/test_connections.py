"""Connections that hold a place without asking anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_agent.gateway import connections, guards
from edge_agent.gateway.connections import BoundedProtocol
from edge_agent.gateway.guards import Gate
from edge_agent.gateway.keys import KeyRing
from edge_agent.gateway.options import GatewayOptions
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answering(answer: asyncio.Event) -> ASGIApp:
    """An app whose one answer waits for `answer`."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """A server of this app; yields its port."""
    config = uvicorn.Config(app, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, port=0)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_head_that_does_not_arrive_costs_the_connection(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.05)
    async with serving(answering(asyncio.Event())) as port, asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()


async def test_also_after_a_first_request_and_a_slow_answer_is_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 1.0)
    answer = asyncio.Event()
    async with serving(answering(answer)) as port, asyncio.timeout(PATIENCE_S):
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        loop.call_later(2.0, answer.set)  # twice the bound
        assert await reader.readuntil(b"ok")
        writer.write(b"GET / HT")
        assert await reader.read() == b""
        writer.close()


async def test_without_keys_no_address_has_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "CONNECTIONS_MAX", 8)
    inside: list[str] = []

    async def waits(scope: Scope, receive: Receive, _send: Send) -> None:
        inside.append(scope["client"][0])
        while (await receive())["type"] != "http.disconnect":
            pass
        inside.remove(scope["client"][0])

    keys_file = tmp_path / "none.json"
    gate = Gate(waits, KeyRing(keys_file), GatewayOptions("mqtt://127.0.0.1:1", "home", keys_file))
    async with serving(gate) as port, asyncio.timeout(PATIENCE_S):

        async def ask(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(REQUEST)
            return reader, writer

        writers = []
        for number in range(1, 7):
            writers.append((await ask("127.0.0.1"))[1])
            await until(lambda number=number: len(inside) == number, "its request is inside")  # type: ignore[misc]  # bound now
        reader, writer = await ask("127.0.0.1")
        assert b" 429 " in await reader.readline(), "three quarters are taken, and the last is kept for others"
        writers += [writer, (await ask("127.0.0.2"))[1]]
        await until(lambda: inside.count("127.0.0.2") == 1, "another address finds a place")
        for writer in writers:
            writer.close()
        await until(lambda: not inside, "all have left")
