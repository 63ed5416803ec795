"""Whether a database can be used: one test point is written and read back. An accepted write proves nothing."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import final

from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS, elapsed_ns
from edge_agent.adapters.telemetry.dialects import DatabaseWriter, WriteError, require_client
from edge_agent.adapters.telemetry.questions import Questions
from edge_agent.adapters.telemetry.server import ServerKind, TelemetryServer, TelemetryServerError, introduced
from edge_agent.adapters.telemetry.server_clock import ServerClock
from edge_agent.adapters.telemetry.vetting import apart
from edge_agent.wire.line_protocol import Point, encode

MEASUREMENT = "moamesh_check"
"""Where test points go: apart from what devices measure. One series, a point for each check."""
FIELD = "value"
READ_BACK_S = 20.0
"""How long a point may take to show: VictoriaMetrics gathers for a second, and for up to 15 in a new data folder."""
_PAUSE_S = 0.25
_NS_IN_MS = 1_000_000


@final
@dataclass(frozen=True, slots=True)
class CheckedServer:
    """A database that took a point and gave it back.

    kind: how it is written to and read. version: what it says of itself, "" if nothing.
    write_s, read_back_s: seconds until it said that it had taken the point, and from then until the point was there.
    """

    kind: ServerKind
    version: str
    write_s: float
    read_back_s: float


def check_server(server: TelemetryServer, *, within_s: float = READ_BACK_S) -> CheckedServer:
    """Asks a database what it is and what time it has, writes a test point and reads it back.

    Raises:
        TelemetryServerError: it cannot be reached, refuses, has another time than we, or does not give the point back.
            One line.
        SettingsError: influxdb-client is not installed, or `ca_file` cannot be read.
    """
    require_client()
    identity = introduced(server)
    kind, version = server.kind or identity.kind, identity.version  # what is set counts
    _check_clocks(server)
    value = random.randrange(2**31)  # noqa: S311 - so that no older point is taken for this one
    time_ns = time.time_ns() // _NS_IN_MS * _NS_IN_MS
    line = encode(Point(MEASUREMENT, {}, {FIELD: value}, time_ns))
    writer = DatabaseWriter(server, kind)
    began = time.monotonic()
    try:
        writer.write(line.encode() + b"\n", server.timeout_s)
    except WriteError as error:
        raise TelemetryServerError(str(error), retryable=False) from None
    finally:
        writer.close()
    taken = time.monotonic()
    with Questions(server) as ask:
        while not _is_there(ask, kind, time_ns, value):
            if time.monotonic() - taken > within_s:
                what = f"accepted a point but does not return it within {within_s:g} s; its log may say why"
                raise ask.error(what, retryable=True)
            time.sleep(_PAUSE_S)
    return CheckedServer(kind, version, taken - began, time.monotonic() - taken)


def _check_clocks(server: TelemetryServer) -> None:
    """Points of a clock that is wrong lie in the future or the past, where nobody looks; VictoriaMetrics drops some."""
    server_ns, own_ns = ServerClock(server, elapsed_ns).now_ns(), time.time_ns()
    if server_ns is not None and abs(own_ns - server_ns) > AHEAD_MAX_NS:
        raise TelemetryServerError(f"{server.url}: {apart(own_ns, server_ns)}", retryable=False)


def _is_there(ask: Questions, kind: ServerKind, time_ns: int, value: int) -> bool:
    if kind is ServerKind.VICTORIA_METRICS:
        at_s = f"{time_ns // _NS_IN_MS / 1000:.3f}"
        parameters = {"match[]": f"{MEASUREMENT}_{FIELD}", "start": at_s, "end": at_s}
        return any(value in series.get("values", ()) for series in ask.objects("/api/v1/export", parameters))
    query = f'SELECT "{FIELD}" FROM "{MEASUREMENT}" WHERE time = {time_ns}'  # noqa: S608 - our own names and a number
    for answer in ask.objects("/query", {"db": ask.server.database, "q": query, "epoch": "ns"}):
        for result in (answer, *answer.get("results", ())):
            if error := result.get("error"):
                raise ask.error(
                    f"accepted a point, but queries for it fail: {error}; `moamesh telemetry setup` makes it readable"
                )
            for series in result.get("series", ()):
                if any(value in row for row in series.get("values", ())):
                    return True
    return False
