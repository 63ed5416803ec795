"""What Grafana does to a query and to an alert rule, as far as our files use it: no Grafana server can run here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.databases import DatabaseServer

Labels = tuple[tuple[str, str], ...]
_VARIABLE = re.compile(r"\$\{(?P<name>\w+):(?P<format>\w+)\}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REDUCERS = {"last": lambda values: values[-1]}
_LIMITS = {"lt": lambda value, limit: value < limit, "gt": lambda value, limit: value > limit}


@dataclass(frozen=True)
class Shown:
    """What a user looks at: from and to in seconds since 1970, the interval of a point, and what is chosen."""

    from_s: float
    to_s: float
    interval: str = "2s"
    chosen: Mapping[str, str | Sequence[str]] | None = None

    def fill_in(self, query: str) -> str:
        """The query as the data source gets it: variables in the browser, then macros in the server."""
        filled = _VARIABLE.sub(self._variable, query)
        time_filter = f"time >= {int(self.from_s * 1000)}ms and time <= {int(self.to_s * 1000)}ms"
        for macro, text in (
            ("$timeFilter", time_filter),
            ("$__interval_ms", str(int(seconds(self.interval) * 1000))),
            ("$__interval", self.interval),
        ):
            filled = filled.replace(macro, text)
        assert "$" not in filled.replace("$/", ""), f"Grafana leaves this as it is: {filled}"
        return filled

    def _variable(self, match: re.Match[str]) -> str:
        assert match["format"] == "regex", "a query's variables stand in regular expressions"
        value = (self.chosen or {})[match["name"]]
        if isinstance(value, str):
            return value if value == ".*" else escaped(value)  # "All" with a value of its own is not escaped
        return escaped(value[0]) if len(value) == 1 else f"({'|'.join(map(escaped, value))})"


def escaped(text: str) -> str:
    """A value in format `regex`."""
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", text)


def seconds(duration: str) -> float:
    """`5m` in seconds."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", duration)
    assert match is not None, duration
    return int(match[1]) * _UNITS[match[2]]


class RuleState:
    """One provisioned alert rule, evaluated as often as its group is; instances by their labels."""

    def __init__(self, rule: Mapping[str, Any], every: str) -> None:
        self._rule = rule
        self._every_s = seconds(every)
        self._lasting_s = seconds(rule["for"])
        self._data = {one["refId"]: one for one in rule["data"]}
        self._pending_since: dict[Labels, float] = {}

    def firing(self, database: DatabaseServer, name: str, from_s: float, to_s: float) -> set[Labels]:
        """The instances that fire at `to_s`, when the rule has been evaluated since `from_s`."""
        firing: set[Labels] = set()
        at_s = from_s
        while at_s <= to_s:
            met = {labels for labels, value in self.values(database, name, at_s).items() if self._meets(value)}
            self._pending_since = {labels: self._pending_since.get(labels, at_s) for labels in met}
            firing = {labels for labels, since in self._pending_since.items() if at_s - since >= self._lasting_s}
            at_s += self._every_s
        return firing

    def values(self, database: DatabaseServer, name: str, at_s: float) -> dict[Labels, float]:
        """The query's series at a time, each reduced to its one value; those without values are left out."""
        threshold = self._data[self._rule["condition"]]["model"]
        reduction = self._data[threshold["expression"]]["model"]
        source = self._data[reduction["expression"]]
        assert (threshold["type"], reduction["type"]) == ("threshold", "reduce")
        assert reduction["settings"] == {"mode": "dropNN"}
        back = source["relativeTimeRange"]
        shown = Shown(at_s - back["from"], at_s - back["to"])
        found = {}
        for series in database.influxql(shown.fill_in(source["model"]["query"]), name):
            values = [row[1] for row in series["values"] if row[1] is not None]
            if values:
                found[tuple(sorted(series.get("tags", {}).items()))] = _REDUCERS[reduction["reducer"]](values)
        return found

    def _meets(self, value: float) -> bool:
        [condition] = self._data[self._rule["condition"]]["model"]["conditions"]
        [limit] = condition["evaluator"]["params"]
        return _LIMITS[condition["evaluator"]["type"]](value, limit)
