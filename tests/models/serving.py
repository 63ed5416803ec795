"""A web server on loopback that answers as servers should not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What the server sends to each request: a body in pieces, and what it says of it."""

    body: bytes | Iterable[bytes]
    status: str = "200 OK"
    length: int | None = None
    """What it says; `None`: as long as it is, or nothing where it is sent in pieces."""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The Range of each request."""


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serves until the end of the block; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, answer, stop))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
            thread.join()


def _serve(listener: socket.socket, answer: Answer, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            _answer(connection, answer, stop)


def _answer(connection: socket.socket, answer: Answer, stop: threading.Event) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    lines = request.decode("latin-1").lower().split("\r\n")
    answer.asked.append(next((line.partition(": ")[2] for line in lines if line.startswith("range:")), ""))
    length = len(answer.body) if answer.length is None and isinstance(answer.body, bytes) else answer.length
    headers = answer.headers | ({"Content-Length": str(length)} if length is not None else {"Connection": "close"})
    said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"HTTP/1.1 {answer.status}\r\n{said}\r\n".encode())
    for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
        if stop.is_set():
            return
        connection.sendall(piece)
