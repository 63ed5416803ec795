"""Real database servers on free loopback ports. A folder's conftest imports the fixtures it uses.

Each can be killed and started again on the same port and data, as after a power cut.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import missing
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports

DATABASE = "moamesh"
LOG_TAIL_BYTES = 2_000

# All on loopback, nothing sent home, no statistics of its own, small caches. The first bind-address is of backups; left
# out, it is a fixed port, and two of these could not run at once.
_INFLUXDB_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
logging-enabled = false
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
cache-max-memory-size = 67108864
cache-snapshot-memory-size = 4194304
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
[continuous_queries]
run-interval = "1s"
"""


class DatabaseServer:
    """A server process of one kind: "influxdb" (1.x) or "victoria-metrics".

    folder: for its data and log; must be of this server alone.
    auth: InfluxDB asks for a user and password (`ADMIN`, made by `start`).
    flags: further flags of VictoriaMetrics. Without the one for duplicates it keeps a point that is sent twice twice.
    """

    ADMIN = ("admin", "admin's secret")
    ONE_OF_EACH = "-dedup.minScrapeInterval=1ms"  # of samples with the same time and labels, VictoriaMetrics keeps one

    def __init__(self, kind: str, folder: Path, *, auth: bool = False, flags: Iterable[str] = (ONE_OF_EACH,)) -> None:
        self.kind = kind
        self._folder = folder
        self._auth = auth
        self._flags = tuple(flags)
        self._port, self._rpc_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it answers; InfluxDB then has the database `DATABASE`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_answer()
            if self.kind == "influxdb":
                self._prepare_influxdb()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kills it at once (SIGKILL), as a power cut would.

        VictoriaMetrics 1.79 then forgets the last 5 to 10 seconds of points that it has accepted (in a new, empty data
        folder up to 15): what was sent in the minute before must be sent again. InfluxDB keeps what it has accepted.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stops it in order; kills it if it does not stop in time. May be called twice."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def write(self, lines: Iterable[str]) -> None:
        """Writes lines of line protocol and flushes. Raises if they are refused."""
        path, parameters = (
            ("/write", {"db": DATABASE, "precision": "ns"})
            if self.kind == "influxdb"
            else ("/api/v2/write", {"bucket": DATABASE, "precision": "ns"})
        )
        self._post(path, parameters, "\n".join(lines).encode())
        self.flush()

    def flush(self) -> None:
        """Makes what was accepted readable: VictoriaMetrics gathers points for a second before it shows them.

        A series that is new today may still take 0.2 s more: poll for what you expect.
        """
        if self.kind == "victoria-metrics":
            httpx.get(f"{self.url}/internal/force_flush", timeout=PATIENCE_S).raise_for_status()

    def influxql(self, query: str, database: str = DATABASE) -> list[dict[str, Any]]:
        """Returns the series that an InfluxQL query gives, as InfluxDB says them; raises on an error of the query."""
        parameters = {"db": database, "q": query, "epoch": "ns"}
        result = self._post("/query", parameters).json()["results"][0]
        assert "error" not in result, f"{query}: {result['error']}"
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    def log_tail(self) -> str:
        """The end of the server's log."""
        with contextlib.suppress(FileNotFoundError):
            return self._log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return ""

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    def _command(self) -> list[str]:
        if self.kind == "influxdb":
            config = self._folder / "influxdb.conf"
            text = _INFLUXDB_CONFIG.format(
                folder=self._folder, port=self._port, rpc_port=self._rpc_port, auth=str(self._auth).lower()
            )
            config.write_text(text)
            return [find_server(self.kind), "run", "-config", str(config)]
        return [
            find_server(self.kind),
            f"-storageDataPath={self._folder}/data",
            f"-httpListenAddr=127.0.0.1:{self._port}",
            "-search.latencyOffset=0s",  # or the last 30 s are not shown
            "-retentionPeriod=100y",  # tests write points of long ago
            "-memory.allowedBytes=64MB",
            *self._flags,
        ]

    def _await_answer(self) -> None:
        path = "/ping" if self.kind == "influxdb" else "/health"
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"{self.kind} ended with {self._process.returncode}:\n{self.log_tail()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + path, timeout=PATIENCE_S).is_success:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.kind} does not answer after {PATIENCE_S:.0f} s:\n{self.log_tail()}")

    def _prepare_influxdb(self) -> None:
        if self._auth:  # the first user may be made without one; again it is no error with the same password
            user, password = self.ADMIN
            quoted = password.replace("'", "\\'")
            self._post("/query", {"q": f"CREATE USER {user} WITH PASSWORD '{quoted}' WITH ALL PRIVILEGES"})
        self._post("/query", {"q": f'CREATE DATABASE "{DATABASE}"'})

    def _post(self, path: str, parameters: dict[str, str], body: bytes = b"") -> httpx.Response:
        auth = self.ADMIN if self._auth else None
        response = httpx.post(self.url + path, params=parameters, content=body, auth=auth, timeout=PATIENCE_S)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response


def find_server(kind: str) -> str:
    """Returns the program of a kind; skips the test where it is not installed."""
    program = {"influxdb": "influxd", "victoria-metrics": "victoria-metrics"}[kind]
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(program, path=search)
    if found is None:
        missing(f"{program} is not installed: `make programs` as root on Debian")
        raise AssertionError  # not reached: `missing` ends the test
    return found


@contextlib.contextmanager
def running(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server while the context lasts."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[DatabaseServer]:
    """An InfluxDB 1.x of this test alone, with the database `DATABASE`."""
    with running(DatabaseServer("influxdb", tmp_path / "influxdb")) as server:
        yield server


@pytest.fixture
def victoria_metrics(tmp_path: Path) -> Iterator[DatabaseServer]:
    """A VictoriaMetrics of this test alone."""
    with running(DatabaseServer("victoria-metrics", tmp_path / "victoria-metrics")) as server:
        yield server
