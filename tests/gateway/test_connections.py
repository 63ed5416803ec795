"""Connections that hold a place without asking anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from edge_agent.gateway import connections
from edge_agent.gateway.connections import BoundedProtocol
from tests.support.patience import PATIENCE_S

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(answer: asyncio.Event) -> AsyncIterator[int]:
    """A server whose one answer waits for `answer`; yields its port."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

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
    async with serving(asyncio.Event()) as port, asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()


async def test_also_after_a_first_request_and_a_slow_answer_is_not_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 1.0)
    answer = asyncio.Event()
    async with serving(answer) as port, asyncio.timeout(PATIENCE_S):
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        loop.call_later(2.0, answer.set)  # twice the bound
        assert await reader.readuntil(b"ok")
        writer.write(b"GET / HT")
        assert await reader.read() == b""
        writer.close()
