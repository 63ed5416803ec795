"""What is left of telemetry after two weeks: figures of every five minutes, as InfluxQL and as Flux say it.

A mean keeps its field's name, and so does the last value of a total; everything else has the function behind the name,
such as `end_to_end_latency_s_p95`. Quantiles are made here, from single answers: a quantile of means would say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

RAW_DAYS = 14  # single points: enough to look into last week's trouble; a device writes some 10 MB a day
MEANS_DAYS = 730  # five-minute figures: two years of a device are as large as two weeks of its points
MEANS_POLICY = "means_5m"
WINDOW, WINDOW_S = "5m", 300
LATE_POINTS = "1h"  # each run makes the last hour anew: a spool that comes in after an outage of minutes still counts
ONE_DAY_S = 86_400

# function: InfluxQL's call, Flux's function, what stands behind the field's name
_FUNCTIONS: Mapping[str, tuple[str, str, str]] = {
    "mean": ("mean({})", "mean", ""),
    "last": ("last({})", "last", ""),
    "max": ("max({})", "max", "_max"),
    "sum": ("sum({})", "sum", "_sum"),
    "count": ("count({})", "count", "_count"),
    "p50": ("percentile({}, 50)", "p50", "_p50"),
    "p95": ("percentile({}, 95)", "p95", "_p95"),
    "p99": ("percentile({}, 99)", "p99", "_p99"),
}
_QUANTILES = (50, 95, 99)


@final
@dataclass(frozen=True, slots=True)
class Downsampled:
    """A measurement and what is kept of it: fields by function."""

    measurement: str
    fields: Mapping[str, tuple[str, ...]]

    def columns(self) -> Iterator[tuple[str, str, str]]:
        """Yields (function, field, name of the figure)."""
        for function, fields in self.fields.items():
            for field in fields:
                yield function, field, field + _FUNCTIONS[function][2]


DOWNSAMPLED = (
    Downsampled(
        "agent_queue",
        {
            "mean": (
                *("requests_waiting_mean", "requests_waiting_predicted", "arrival_rate_hz", "service_time_s_mean"),
                *("service_time_scv", "service_rate_hz", "utilisation", "offered_load", "stability_margin"),
            ),
            "max": ("requests_waiting", "offered_load"),
            "last": (
                *("accepted", "completed", "rejected", "expired", "cancelled", "failed"),
                *("queue_capacity", "slots", "peers_alive", "synthetic"),
            ),
        },
    ),
    Downsampled(
        "agent_request",
        {
            "mean": ("waiting_time_s", "service_time_s", "sojourn_time_s", "time_to_first_token_s"),
            "p95": ("waiting_time_s", "service_time_s", "sojourn_time_s", "time_to_first_token_s"),
            "sum": ("input_tokens", "output_tokens"),
            "count": ("sojourn_time_s",),
        },
    ),
    Downsampled(
        "agent_session",
        {
            "mean": ("end_to_end_latency_s", "layer_count", "fanout"),
            "p50": ("end_to_end_latency_s",),
            "p95": ("end_to_end_latency_s",),
            "p99": ("end_to_end_latency_s",),
            "sum": ("responses_expected", "responses_joined", "substitutes"),
            "count": ("end_to_end_latency_s",),
        },
    ),
    Downsampled(
        "agent_telemetry",
        {
            "max": ("spool_points", "spool_bytes"),
            "last": ("points_written", "points_sent", "points_lost", "points_refused", "points_dropped"),
        },
    ),
)


def identifier(name: str) -> str:
    """Returns a name quoted as InfluxQL wants it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def select_into(kept: Downsampled, database: str, raw_policy: str, *, from_s: int | None = None) -> str:
    """Returns the InfluxQL that makes a measurement's figures; `from_s` bounds it where no schedule does."""
    columns = ", ".join(
        f"{_FUNCTIONS[function][0].format(identifier(field))} AS {identifier(name)}"
        for function, field, name in kept.columns()
    )
    target = ".".join(map(identifier, (database, MEANS_POLICY, kept.measurement)))
    source = ".".join(map(identifier, (database, raw_policy, kept.measurement)))
    bound = "" if from_s is None else f"WHERE time >= {from_s}s "
    return " ".join(("SELECT", columns, "INTO", target, "FROM", source, f"{bound}GROUP BY time({WINDOW}), *"))


def continuous_query_name(kept: Downsampled) -> str:
    """Returns the name under which InfluxDB 1 makes a measurement's figures."""
    return f"{MEANS_POLICY}_{kept.measurement}"


def continuous_query(kept: Downsampled, database: str, raw_policy: str) -> str:
    """Returns the InfluxQL that has the server make a measurement's figures every five minutes."""
    name = identifier(continuous_query_name(kept))
    return (
        f"CREATE CONTINUOUS QUERY {name} ON {identifier(database)} RESAMPLE EVERY {WINDOW} FOR {LATE_POINTS} "
        f"BEGIN {select_into(kept, database, raw_policy)} END"
    )


def means_bucket(database: str) -> str:
    """Returns InfluxDB 2's bucket of the figures: `database/policy`, as it names the buckets of old policies itself."""
    return f"{database}/{MEANS_POLICY}"


def task_name(database: str) -> str:
    """Returns the name of InfluxDB 2's task."""
    return f"{database} {MEANS_POLICY}"


def flux_task(database: str) -> str:
    """Returns the Flux of the task that makes all figures every five minutes, a minute late for points on their way.

    In a task `now()` is the time it was due, not the time it runs: so its hour is made of whole windows.
    """
    options = f"option task = {{name: {_flux(task_name(database))}, every: {WINDOW}, offset: 1m}}"
    return f"{options}\n\n{_flux_script(database, f'start: -{LATE_POINTS}')}"


def first_window_s(now_s: float, raw_days: int) -> int:
    """Returns the start of the first window that has all its points, in seconds since 1970; 0 days: for ever."""
    if not raw_days:
        return 0
    return math.ceil((now_s - raw_days * ONE_DAY_S) / WINDOW_S) * WINDOW_S


def flux_backfill(database: str, now_s: float, raw_days: int) -> str:
    """Returns the Flux that makes all figures of the points that are there, but those of the window under way."""
    bounds = (first_window_s(now_s, raw_days), math.floor(now_s / WINDOW_S) * WINDOW_S)
    start, stop = (datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at_s in bounds)
    return _flux_script(database, f"start: {start}, stop: {stop}")


def _flux_script(database: str, time_range: str) -> str:
    """Only whole windows count: half of one would overwrite the right figure with a wrong one."""
    quantiles = "\n".join(
        f'p{of} = (column, tables=<-) => tables |> quantile(q: 0.{of}, column: column, method: "exact_selector")'
        for of in _QUANTILES
    )
    streams = "\n".join(
        _flux_stream(kept.measurement, function, fields)
        for kept in DOWNSAMPLED
        for function, fields in kept.fields.items()
    )
    return f"""{quantiles}
points = (measurement) =>
    from(bucket: {_flux(database)})
        |> range({time_range})
        |> filter(fn: (r) => r._measurement == measurement)
figures = (fn, suffix, tables=<-) =>
    tables
        |> aggregateWindow(every: {WINDOW}, fn: fn, createEmpty: false, timeSrc: "_start")
        |> map(fn: (r) => ({{r with _field: r._field + suffix}}))
        |> to(bucket: {_flux(means_bucket(database))})

{streams}"""


def _flux_stream(measurement: str, function: str, fields: tuple[str, ...]) -> str:
    _, name, suffix = _FUNCTIONS[function]
    wanted = " or ".join(f"r._field == {_flux(field)}" for field in fields)
    stream = _flux(f"{measurement}{suffix or '_' + function}")
    return f"""points(measurement: {_flux(measurement)})
    |> filter(fn: (r) => {wanted})
    |> figures(fn: {name}, suffix: {_flux(suffix)})
    |> yield(name: {stream})
"""


def _flux(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
