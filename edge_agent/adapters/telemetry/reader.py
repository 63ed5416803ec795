"""Reads back what the sink wrote, for analysis: from its files, or from a database that they were sent to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from edge_agent.adapters.telemetry.files import list_files
from edge_agent.adapters.telemetry.server import ServerKind, TelemetryServer, identify
from edge_agent.wire.line_protocol import Point, decode

log = logging.getLogger(__name__)


def read_points(folder: Path) -> Iterator[Point]:
    """Yields every point in `folder`: device by device, each in the order of recording.

    May run while devices write. A line that is still being written is left out; one that is damaged is skipped and
    logged with its place.
    """
    for path in list_files(folder):
        try:
            file = path.open(encoding="utf-8", errors="replace", newline="\n")
        except FileNotFoundError:  # rotated away since the folder was listed
            continue
        with file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    break
                try:
                    yield decode(line[:-1])
                except ValueError as error:
                    log.warning("%s:%d: damaged telemetry line skipped: %s", path, number, error)


def read_database(server: TelemetryServer, mesh: str | None = None, since_s: float | None = None) -> Iterator[Point]:
    """Yields every point of a mesh in a database, each device's in the order of time within a measurement.

    A point is to the digit the one in the device's files. At the call the server is asked what it is, unless `server`
    says so; what it holds is asked for when points are.

    Args:
        server: where it is, and who we are to it.
        mesh: which; `None` for the only one there.
        since_s: only about the last so many seconds of what was recorded, and not less.

    Raises:
        SettingsError: no such database or mesh, or several meshes and none named. One line.
        TelemetryServerError: it cannot be reached, refuses, or is not a database that we know. One line.
    """
    kind = identify(server)
    if kind is ServerKind.VICTORIA_METRICS:
        from edge_agent.adapters.telemetry.promql import read_victoria_metrics  # httpx: a device does without it

        return read_victoria_metrics(server, mesh, since_s)
    from edge_agent.adapters.telemetry.influxql import read_influxql

    return read_influxql(server, mesh, since_s)
