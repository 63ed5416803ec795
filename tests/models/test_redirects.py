"""Where a model's server may send us: on real servers on loopback, and by address where one can't be had here."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.models import ModelError
from edge_agent.models.errors import DownloadRefusedError
from edge_agent.models.fetch_http import fetch_url
from edge_agent.models.progress import ignore_progress
from edge_agent.models.redirects import REDIRECTS_MAX, check_redirect

CONTENT = b"GGUF and so on"


class Server(http.server.ThreadingHTTPServer):
    """`/hops/N` leads to the file over N redirects, `/to` to `location`; notes what let it be asked."""

    def __init__(self, location: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.location = location
        self.asked: list[tuple[str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization"), self.headers.get("Range")))
        hops = int(self.path.removeprefix("/hops/")) if self.path.startswith("/hops/") else 0
        if hops or self.path == "/to":
            self.send_response(302)
            self.send_header("Location", f"/hops/{hops - 1}" if hops else self.server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps test output clean."""


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_so_many_redirects_are_followed_and_no_more(tmp_path: Path) -> None:
    part = tmp_path / "m.part"
    with running(Server()) as server:
        fetch_url(f"{server.url}/hops/{REDIRECTS_MAX}", part, ignore_progress)
        assert part.read_bytes() == CONTENT
        with pytest.raises(DownloadRefusedError, match="too many redirects"):
            fetch_url(f"{server.url}/hops/{REDIRECTS_MAX + 1}", tmp_path / "other", ignore_progress)
        assert len(server.asked) == 2 * (REDIRECTS_MAX + 1)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "redirects to file://"),
        ("ftp://127.0.0.1/m.gguf", "redirects to ftp://"),
        ("data:text/plain,GGUF", "cannot download"),
        ("javascript:alert(1)", "cannot download"),
        ("http://[bad/m.gguf", "cannot download"),
        ("http://127.0.0.1:1/m.gguf", "cannot download"),
    ],
)
def test_a_redirect_elsewhere_is_one_line_and_writes_nothing(location: str, said: str, tmp_path: Path) -> None:
    part = tmp_path / "m.part"
    with running(Server(location)) as server, pytest.raises(ModelError, match=said) as caught:
        fetch_url(f"{server.url}/to", part, ignore_progress)
    assert "\n" not in str(caught.value)
    assert not part.exists()


def test_what_lets_us_in_goes_to_no_other_server_and_the_place_to_go_on_does(tmp_path: Path) -> None:
    part = tmp_path / "m.part"
    part.write_bytes(b"GG")
    with running(Server()) as other, running(Server(f"{other.url}/file")) as first:
        fetch_url(f"{first.url}/to", part, ignore_progress, {"Authorization": "Bearer token"})
        assert first.asked == [("/to", "Bearer token", "bytes=2-")]
        assert other.asked == [("/file", None, "bytes=2-")]
    assert part.read_bytes() == CONTENT


def test_what_is_longer_than_was_announced_elsewhere_is_ended(tmp_path: Path) -> None:
    """The server states no length; whoever told of the file did."""
    with running(Server()) as server, pytest.raises(DownloadRefusedError, match="does not end: this one has 13 bytes"):
        fetch_url(f"{server.url}/file", tmp_path / "m.part", ignore_progress, bytes_max=len(CONTENT) - 1)


PUBLIC, LOCAL = "93.184.215.14", "192.168.1.1"  # nothing is sent there
WAYS = {
    "to a store": (f"https://{PUBLIC}/m", "https://8.8.8.8/m", ""),
    "within one host": (f"http://{LOCAL}/m", f"http://{LOCAL}/n", ""),
    "from plain to encrypted": (f"http://{PUBLIC}/m", f"https://{PUBLIC}/m", ""),
    "from this network out": (f"http://{LOCAL}/m", f"http://{PUBLIC}/m", ""),
    "from one neighbour to another": (f"http://{LOCAL}/m", "http://10.0.0.1/m", ""),
    "a name that nobody knows here": ("https://no-such-host.invalid/m", "https://nor-this.invalid/m", ""),
    "from encrypted to plain": (f"https://{PUBLIC}/m", f"http://{PUBLIC}/m", "from https to http://"),
    "to this machine": (f"https://{PUBLIC}/m", "https://127.0.0.1/m", "which is in this network"),
    "to this machine by name": (f"https://{PUBLIC}/m", "https://localhost/m", "which is in this network"),
    "to this machine, version 6": (f"https://{PUBLIC}/m", "https://[::1]/m", "which is in this network"),
    "to this machine, version 4 in 6": (f"https://{PUBLIC}/m", "https://[::ffff:127.0.0.1]/m", "in this network"),
    "to a neighbour": (f"http://{PUBLIC}/m", f"http://{LOCAL}/router", "which is in this network"),
    "to a cloud's own address": (f"http://{PUBLIC}/m", "http://169.254.169.254/latest", "which is in this network"),
    "to a file": (f"https://{PUBLIC}/m", "file:///etc/passwd", "which is not followed"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_redirect_leads_on_or_is_refused(way: str) -> None:
    origin, target, said = WAYS[way]
    if not said:
        check_redirect("m", origin, target)
        return
    with pytest.raises(DownloadRefusedError, match=said):
        check_redirect("m", origin, target)
