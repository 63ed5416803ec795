"""InfluxQL in panels: the query type that Grafana's SDK does not have, and the pieces that every query shares.

InfluxQL is the one language that all InfluxDB versions answer. Variables are always written with their format
(`${mesh:regex}`), because what Grafana does with a bare `$mesh` in a regular expression has changed with its versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import DataSourceRef

DATASOURCE_UID = "moamesh-influxdb"  # the provisioned data source, whichever InfluxDB version is behind it
DATASOURCE = DataSourceRef(type_val="influxdb", uid=DATASOURCE_UID)

OF_MESH = '"mesh" =~ /^${mesh:regex}$/'
OF_DEVICE = '"device_id" =~ /^${device:regex}$/'
_ONE_DEVICE = ("mesh", "device_id")
PER_MINUTE = "* 60000 / $__interval_ms"  # behind a count of one $__interval: InfluxQL cannot divide by the interval


@final
class InfluxQl(variants.Dataquery):
    """One InfluxQL statement of a panel. Grafana reads only the first statement's result: never join two with `;`.

    alias: names the curves: `$tag_device_id` the value of a tag, `$col` the name of the column.
    table: rows with tags as columns, instead of one curve for each tag set and column.
    """

    def __init__(self, query: str, *, ref_id: str = "A", alias: str = "", table: bool = False) -> None:
        self.query = query
        self.ref_id = ref_id
        self.alias = alias
        self.table = table

    def to_json(self) -> dict[str, object]:
        """Returns the query as Grafana's InfluxDB data source stores it."""
        stored: dict[str, object] = {
            "datasource": DATASOURCE,
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": "table" if self.table else "time_series",
        }
        return stored | ({"alias": self.alias} if self.alias else {})


@final
class Target(Builder[InfluxQl]):
    """What the SDK's panels take: a builder around a query that is already built."""

    def __init__(self, query: InfluxQl) -> None:
        self._query = query

    def build(self) -> InfluxQl:
        """Returns the query."""
        return self._query


def over_time(fields: str, measurement: str, where: Sequence[str], *, by: Sequence[str] = ()) -> str:
    """Returns a query for curves: `fields` of each interval, by tags."""
    return select(fields, measurement, where, by=("time($__interval)", *map(quoted, by))) + " fill(none)"


def over_range(fields: str, measurement: str, where: Sequence[str], *, by: Sequence[str] = ()) -> str:
    """Returns a query for one number in the whole time shown, or one for each tag set."""
    return select(fields, measurement, where, by=map(quoted, by))


def of_devices(outer: str, field: str, where: Sequence[str]) -> str:
    """Returns a query for one number out of every device's last value: `outer` takes it as "value"."""
    return nested(outer, over_range(f'last("{field}") AS "value"', "agent_queue", where, by=_ONE_DEVICE))


def increase(total: str, measurement: str, where: Sequence[str]) -> str:
    """Returns a query for how much a total of all devices rose in the time shown, restarts left out."""
    rise = f'non_negative_difference(last("{total}")) AS "rise"'
    return nested(f'sum("rise") AS "{total}"', over_time(rise, measurement, where, by=_ONE_DEVICE))


def nested(fields: str, inner: str, *, by: Sequence[str] = ()) -> str:
    """Returns a query over what another query gives."""
    return " ".join(("SELECT", fields, "FROM", f"({inner})", "WHERE $timeFilter", *_group(map(quoted, by))))


def select(fields: str, measurement: str, where: Sequence[str], *, by: Iterable[str]) -> str:
    """Returns a SELECT over the time shown; `measurement` may be quoted already, to name its retention policy."""
    source = measurement if '"' in measurement else quoted(measurement)
    return " ".join(("SELECT", fields, "FROM", source, "WHERE", " AND ".join((*where, "$timeFilter")), *_group(by)))


def quoted(name: str) -> str:
    """Returns a name as InfluxQL's identifier."""
    return f'"{name}"'


def _group(by: Iterable[str]) -> tuple[str, ...]:
    listed = ", ".join(by)
    return ("GROUP BY", listed) if listed else ()
