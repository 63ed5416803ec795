"""A server on loopback that answers as InfluxDB 2's interface is documented, and keeps what it was asked.

It is no InfluxDB: it shows what we send, not what InfluxDB 2 makes of it, of which none can run here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

VERSION = "v2.7.12"
TOKEN = "recorder's token"
_LISTS = {"orgs": "orgs", "buckets": "buckets", "dbrps": "content", "tasks": "tasks"}
_FILTERS = {"name": "name", "db": "database", "rp": "retention_policy", "orgID": "orgID", "org": "name"}


class Recorder:
    """What is there (by kind), what was asked (method, path, body), and what the next query gives."""

    def __init__(self) -> None:
        self.url = ""
        self.version = VERSION
        self.asked: list[tuple[str, str, Any]] = []
        self.query_answer = "\r\n"
        self.fail: tuple[str, int, str] | None = None
        self.kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _LISTS}
        self.kept["orgs"].append({"id": "org1", "name": "moamesh"})

    def changes(self) -> list[tuple[str, str, Any]]:
        """What was asked that changes something."""
        return [one for one in self.asked if one[0] != "GET"]

    def answer(self, method: str, target: str, token: str | None, body: Any) -> tuple[int, str]:
        """Status and body of one request."""
        url = urlparse(target)
        if url.path == "/ping":
            return 204, ""
        if token != f"Token {TOKEN}":
            return 401, json.dumps({"code": "unauthorized", "message": "unauthorized access"})
        path = url.path.removeprefix("/api/v2/")
        self.asked.append((method, path, body))
        if self.fail is not None and path == self.fail[0] and method != "GET":
            return self.fail[1], json.dumps({"code": "internal error", "message": self.fail[2]})
        if path == "query":
            return 200, self.query_answer
        kind, _, wanted_id = path.partition("/")
        if method == "GET":
            return 200, json.dumps({_LISTS[kind]: self._found(kind, parse_qs(url.query))})
        if method == "POST":
            name = body.get("name") or (body["flux"].split('"')[1] if "flux" in body else "")
            self.kept[kind].append({**body, "name": name, "id": f"{kind}{len(self.kept[kind]) + 1}"})
            return 201, json.dumps(self.kept[kind][-1])
        [found] = [one for one in self.kept[kind] if one["id"] == wanted_id]
        found.update(body)
        return 200, json.dumps(found)

    def _found(self, kind: str, wanted: dict[str, list[str]]) -> list[dict[str, Any]]:
        return [
            one
            for one in self.kept[kind]
            if all(one.get(_FILTERS[key], values[0]) == values[0] for key, values in wanted.items())
        ]


@contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder while the context lasts."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, text = recorder.answer(self.command, self.path, self.headers.get("Authorization"), body)
            self.send_response(status)
            if recorder.version:
                self.send_header("X-Influxdb-Version", recorder.version)
            if status != 204:
                self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = do_HEAD = handle_any  # noqa: N815 -- http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
