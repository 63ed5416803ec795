"""Reads points back from VictoriaMetrics, which keeps each field as a series of its own: `measurement_field`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS
from edge_agent.adapters.telemetry.questions import Parameters, Questions
from edge_agent.adapters.telemetry.restoring import choose_mesh, restore
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.core.errors import SettingsError
from edge_agent.wire.figures import told
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import FIELDS, TAGS

SAMPLES_MAX = 400_000  # put together at a time: some 20,000 points, 40 MB here
LINE_SAMPLES = 10_000  # of one series in one piece of an answer
_FIRST_WINDOW_MS = 3_600_000
_WINDOW_MS_MIN = 1_000  # a mesh with more than SAMPLES_MAX in a second is read all the same
_AHEAD_S = 2 * 86_400  # VictoriaMetrics takes points of clocks that are up to two days ahead
_EARLIEST_S = 366 * 86_400  # 1971: asked for more than since 1970, VictoriaMetrics answers nothing
_MS, _NS_PER_MS, _NS_PER_S = 1_000, 1_000_000, 1_000_000_000

_Key = tuple[str, tuple[str, ...], int]
"""What makes samples one point: measurement, its tags' values, milliseconds."""


def read_victoria_metrics(
    server: TelemetryServer, mesh: str | None = None, since_s: float | None = None
) -> Iterator[Point]:
    """Yields every point of a mesh in the order of time. A point that was sent twice comes once.

    Args:
        server: where it is. The database is not asked for: a series selector finds the mesh in all.
        mesh: which; `None` for the only one there.
        since_s: only about the last so many seconds of what was recorded, and not less.

    Raises:
        SettingsError: no such mesh, or several. One line.
        TelemetryServerError: it cannot be reached or refuses.
    """
    with Questions(server) as ask:
        chosen = choose_mesh(_meshes(ask), mesh, server.url)
        begin_ms = _moment_ms(ask, chosen, "min(tfirst_over_time")
        if since_s is not None:
            # a point of a clock that was wrong must not be the last one
            last_ms = _moment_ms(ask, chosen, "max(tlast_over_time", ahead_s=AHEAD_MAX_NS // _NS_PER_S)
            begin_ms = max(begin_ms, last_ms - math.ceil(since_s * _MS))
        end_ms = int((time.time() + _AHEAD_S) * _MS)
        span_ms = _FIRST_WINDOW_MS
        while begin_ms <= end_ms:
            until_ms = begin_ms + span_ms - 1
            found = _window(ask, chosen, begin_ms, until_ms, SAMPLES_MAX if span_ms > _WINDOW_MS_MIN else None)
            if found is None:
                span_ms = max(_WINDOW_MS_MIN, span_ms // 4)
                continue
            yield from _points(ask, found)
            begin_ms = until_ms + 1
            if sum(map(len, found.values())) < SAMPLES_MAX // 4:
                span_ms *= 2


def _meshes(ask: Questions) -> list[str]:
    parameters: Parameters = {"match[]": "agent_queue_interval_s", "start": 1, "end": time.time() + _AHEAD_S}
    return [str(name) for name in _data(ask, "/api/v1/label/mesh/values", parameters) if name]


def _moment_ms(ask: Questions, mesh: str, function: str, *, ahead_s: int = _AHEAD_S) -> int:
    """The time of the first or last point: one field of each measurement is looked at."""
    names = "|".join(f"{measurement}_{next(iter(fields))}" for measurement, fields in FIELDS.items())
    now_s = int(time.time()) + ahead_s
    query = f"{function}({_selector(names, mesh)}[{now_s - _EARLIEST_S}s]))"
    data = _data(ask, "/api/v1/query", {"query": query, "time": now_s})
    try:
        return round(float(data["result"][0]["value"][1]) * _MS)
    except (LookupError, TypeError, ValueError):
        # just after the first points of a mesh its name is seen before they are
        raise ask.error(f"does not show when mesh {mesh} was recorded yet", retryable=True) from None


def _window(
    ask: Questions, mesh: str, begin_ms: int, until_ms: int, samples_max: int | None
) -> dict[_Key, dict[str, float]] | None:
    """The fields of every point in a stretch of time, bounds included; `None` if there are more than `samples_max`."""
    names = "|".join(f"{measurement}_{field}" for measurement, fields in FIELDS.items() for field in fields)
    parameters: Parameters = {
        "match[]": _selector(names, mesh),
        "start": begin_ms / _MS,
        "end": until_ms / _MS,
        "max_rows_per_line": LINE_SAMPLES,
    }
    found: dict[_Key, dict[str, float]] = {}
    samples = 0
    for series in ask.objects("/api/v1/export", parameters):
        try:
            samples += len(series["timestamps"])
            if samples_max is not None and samples > samples_max:
                return None
            _take(found, series)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise ask.error("answered with series of another form") from None
    return found


def _take(found: dict[_Key, dict[str, float]], series: dict[str, Any]) -> None:
    labels = series["metric"]
    measurement = next(name for name in FIELDS if labels["__name__"].startswith(f"{name}_"))
    field = labels["__name__"].removeprefix(f"{measurement}_")
    kind = FIELDS[measurement][field]
    tags = tuple(labels.get(name, "") for name in TAGS[measurement])
    for time_ms, value in zip(series["timestamps"], series["values"], strict=True):
        found.setdefault((measurement, tags, time_ms), {})[field] = told(value) if kind is float else value


def _points(ask: Questions, found: dict[_Key, dict[str, float]]) -> Iterator[Point]:
    for key in sorted(found, key=lambda key: (key[2], key[:2])):
        measurement, tags, time_ms = key
        try:
            values = {**dict(zip(TAGS[measurement], tags, strict=True)), **found[key]}
            yield restore(measurement, values, time_ms * _NS_PER_MS)
        except ValueError as error:
            raise SettingsError(f"{ask.server.url}: not telemetry written by moamesh: {error}") from None


def _data(ask: Questions, path: str, parameters: Parameters) -> Any:
    for answer in ask.objects(path, parameters):
        return answer.get("data") or {}
    return {}


def _selector(names: str, mesh: str) -> str:
    # a string of PromQL is one of JSON for what a name of a mesh can hold
    return f'{{__name__=~"{names}", mesh={json.dumps(mesh)}}}'
