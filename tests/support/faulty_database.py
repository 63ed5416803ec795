"""A database on loopback that does what a test says: real HTTP(S), real connections, and any fault."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.patience import PATIENCE_S

VERSION = "1.8.10"  # so that it is written to at /api/v2/write


@dataclass(frozen=True)
class Reply:
    """What a write is answered with; 204 says that it is taken."""

    status: int = 204
    words: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """In the place of `words` in InfluxDB 2's form."""


Behaviour: TypeAlias = Callable[["Write"], Reply]


@dataclass
class Write:
    """A request to write: its lines, and how else it may be answered."""

    path: str
    lines: list[str]
    headers: dict[str, str]
    parameters: dict[str, list[str]]
    database: FaultyDatabase
    connection: Any

    def take(self) -> None:
        """Stores the lines, by what makes a point one: series and time."""
        with self.database.lock:
            for line in self.lines:
                series, _, time_ns = re.split(r"(?<!\\) ", line)
                self.database.points[series, time_ns] = line
                self.database.lines_taken += 1


def take(write: Write) -> Reply:
    """A database that works."""
    write.take()
    return Reply()


class FaultyDatabase:
    """Serves until the context `serving` ends. `behave` may be changed at any time.

    Attributes:
        version: what it says of itself. clock_ahead_s: how far its clock is ahead of ours.
        points: what it has stored. lines_taken: how many lines it was given for that, repeats too.
        writes: every request to write, as it came.
        hanging: how many of them it keeps waiting just now.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.behave: Behaviour = take
        self.version = VERSION
        self.clock_ahead_s = 0.0
        self.lock = threading.Lock()
        self.points: dict[tuple[str, str], str] = {}
        self.lines_taken = 0
        self.writes: list[Write] = []
        self.hanging = 0
        self.let_go = threading.Event()
        """Ends what hangs."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that left are no news
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"

    def hang(self, write: Write) -> Reply:
        """Takes the request and says nothing until it is let go; the points are not stored."""
        with self.lock:
            self.hanging += 1
        self.let_go.wait(20 * PATIENCE_S)
        with self.lock:
            self.hanging -= 1
        return Reply(500, "let go")

    def take_and_hang(self, write: Write) -> Reply:
        """As `hang`, but the points are stored."""
        write.take()
        return self.hang(write)

    def break_off(self, write: Write) -> Reply:
        """Stores the points and closes in the midst of the answer."""
        write.take()
        write.connection.sendall(b"HTTP/1.1 2")
        write.connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    def drip(self, write: Write, head: bytes = b"") -> Reply:
        """Says `head`, and then one byte after another, until it is let go; the points are not stored."""
        write.connection.sendall(head)
        while not self.let_go.wait(0.05):
            write.connection.sendall(b"x")
        raise ConnectionAbortedError

    def flood(self, write: Write, head: bytes) -> Reply:
        """Says `head`, and then more and more, as quickly as it is read."""
        write.connection.sendall(head)
        while not self.let_go.is_set():
            write.connection.sendall(b"x" * 65_536)
        raise ConnectionAbortedError

    @contextmanager
    def serving(self) -> Iterator[FaultyDatabase]:
        """Serves while the context lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="faulty database")
        thread.start()
        try:
            yield self
        finally:
            self.let_go.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        database = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or the body of each answer waits 40 ms for its head's acknowledgement

            def do_GET(self) -> None:
                self._answer(Reply(204, headers={"X-Influxdb-Version": database.version}))

            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
                address = urlsplit(self.path)
                lines = body.decode().removesuffix("\n").split("\n")
                parameters = parse_qs(address.query)
                write = Write(address.path, lines, dict(self.headers), parameters, database, self.connection)
                database.writes.append(write)
                self._answer(database.behave(write))

            def _answer(self, reply: Reply) -> None:
                body = (
                    reply.body or (json.dumps({"code": "x", "message": reply.words}) if reply.words else "")
                ).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string((timestamp or time.time()) + database.clock_ahead_s)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler
