"""A server on loopback that gives whatever answer a test wants to a chat: raw bytes, or a program over the socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

Program = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer by itself; the connection is closed when it returns."""

GOOD_TEXT = "Paris"
ONLY_LLAMA_CPP = (b"/apply-template", b"/tokenize")  # what llama.cpp's own server knows beyond OpenAI's API


def sse(*events: object) -> bytes:
    """Returns server-sent events; a string stands as it is, everything else as JSON."""
    lines = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {line}\n\n" for line in lines).encode("utf-8", "surrogatepass")


def delta(text: object, finish: object = None) -> dict[str, object]:
    """Returns an event with a piece of text."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def reply(status: str, body: bytes, *headers: str, content_length: int | None = None) -> bytes:
    """Returns a whole HTTP response."""
    length = len(body) if content_length is None else content_length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def ok(*events: object) -> bytes:
    """Returns a response that streams these events."""
    return reply("200 OK", sse(*events), "Content-Type: text/event-stream")


GOOD = ok(delta(GOOD_TEXT), delta("", "stop"), "[DONE]")
MODELS = reply("200 OK", b'{"object": "list", "data": []}', "Content-Type: application/json")


def endless(start: bytes, more: bytes) -> Program:
    """Returns an answer that never ends."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()

    return write


def dripping(start: bytes, more: bytes) -> Program:
    """Returns an answer that goes on without end, slowly."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0.02)

    return write


def stalled(start: bytes) -> Program:
    """Returns an answer that begins so and then says nothing more."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        await asyncio.Event().wait()

    return write


def in_pieces(pieces: Iterable[bytes]) -> Program:
    """Returns an answer that comes in these packets."""

    async def write(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return write


class ChatServer:
    """Answers `GET` with `models` and `POST` with `chat`; both may be changed at any time."""

    def __init__(self) -> None:
        self.chat: bytes | Program = GOOD
        self.models: bytes | Program = MODELS
        self.chats = 0
        """Chats that have come in whole."""
        self.bodies: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listens, at the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections from now on, and cuts those there are."""
        if self._server is not None:
            self._server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        path = head.split(b" ")[1]
        if path in ONLY_LLAMA_CPP:
            writer.write(reply("404 Not Found", b'{"error": {"message": "no such path"}}'))
            await writer.drain()
            return
        self.bodies.append(body)
        if head.startswith(b"POST"):
            self.chats += 1
        answer = self.chat if head.startswith(b"POST") else self.models
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
            return
        writing = asyncio.ensure_future(answer(writer))
        gone = asyncio.ensure_future(reader.read())
        try:  # until the answer is written, or nobody reads it any more
            await asyncio.wait([writing, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (writing, gone):
                one.cancel()
            await asyncio.gather(writing, gone, return_exceptions=True)


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    """A server that listens while the block runs."""
    server = ChatServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
