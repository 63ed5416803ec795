"""Reads points back by InfluxQL at `/query`, the one query language that all versions of InfluxDB share."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS
from edge_agent.adapters.telemetry.questions import Parameters, Questions
from edge_agent.adapters.telemetry.restoring import choose_mesh, restore
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.core.errors import SettingsError
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import FIELDS, TAGS

CHUNK_ROWS = 2_000  # points in one piece of an answer: about 1 MB here, and little for the server to gather
_NAMES_SHOWN_MAX = 10  # databases named in a message
_NS = 1_000_000_000


def read_influxql(server: TelemetryServer, mesh: str | None = None, since_s: float | None = None) -> Iterator[Point]:
    """Yields every point of a mesh: measurement by measurement, device by device, each device's in the order of time.

    Args:
        server: where it is; its database (InfluxDB 2: the bucket of that name).
        mesh: which; `None` for the only one there.
        since_s: only the last so many seconds of what was recorded.

    Raises:
        SettingsError: no such database or mesh, or several meshes. One line.
        TelemetryServerError: it cannot be reached or refuses.
    """
    with Questions(server) as ask:
        chosen = choose_mesh(_meshes(ask), mesh, f"database {server.database} at {server.url}")
        only = f'"mesh" = {_text(chosen)}'
        if since_s is not None:
            # a point of a clock that was wrong must not be the last one; where all are, they are all there is
            possible = f"{only} AND time <= {time.time_ns() + AHEAD_MAX_NS}"
            only += f" AND time >= {(_last_ns(ask, possible) or _last_ns(ask, only)) - int(since_s * _NS)}"
        for measurement in FIELDS:
            # by device, so that each comes in the order of time; the tag is then not a column but the series' own
            columns = (*FIELDS[measurement], *TAGS[measurement])
            for row in _rows(ask, _select(columns, measurement, f'{only} GROUP BY "device_id"')):
                try:
                    yield restore(measurement, row, row["time"])
                except (ValueError, KeyError) as error:
                    raise SettingsError(f"{server.url}: not telemetry written by moamesh: {error}") from None


def _meshes(ask: Questions) -> list[str]:
    # of the one measurement that every device writes
    rows = _rows(ask, 'SHOW TAG VALUES FROM "agent_queue" WITH KEY = "mesh"')
    return [str(row["value"]) for row in rows if row.get("value")]


def _last_ns(ask: Questions, only: str) -> int:
    """The time of the last point."""
    last_ns = 0
    for measurement, fields in FIELDS.items():
        for row in _rows(ask, _select(list(fields)[:1], measurement, f"{only} ORDER BY time DESC LIMIT 1")):
            last_ns = max(last_ns, row["time"])
    return last_ns


def _select(columns: Iterable[str], measurement: str, where: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f'SELECT {names} FROM "{measurement}" WHERE {where}'  # noqa: S608 -- our own names; texts are quoted


def _rows(ask: Questions, query: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a query's answer, by column; the tags of a series are columns too."""
    parameters: Parameters = {
        "db": ask.server.database,
        "q": query,
        "epoch": "ns",
        "chunked": "true",
        "chunk_size": CHUNK_ROWS,
    }
    for answer in ask.objects("/query", parameters):
        _check(ask, answer)
        for result in answer.get("results", ()):
            _check(ask, result)
            for series in result.get("series", ()):
                tags, columns = series.get("tags", {}), series["columns"]
                for values in series.get("values", ()):
                    yield {**dict(zip(columns, values, strict=True)), **tags}


def _check(ask: Questions, answer: dict[str, Any]) -> None:
    """A query that cannot be answered gets status 200 and says so inside."""
    error = answer.get("error")
    if not error:
        return
    if "database not found" in str(error):
        names = [str(row["name"]) for row in _rows(ask, "SHOW DATABASES") if row["name"] != "_internal"]
        there = ", ".join(names[:_NAMES_SHOWN_MAX]) + (", ..." if len(names) > _NAMES_SHOWN_MAX else "")
        raise SettingsError(f"no database {ask.server.database} at {ask.server.url}; there: {there or 'none'}")
    raise ask.error(f"could not answer a query: {error}")


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
