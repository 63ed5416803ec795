"""Sets InfluxDB 1 up, by InfluxQL: retention policies and continuous queries."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any

from edge_agent.adapters.telemetry.downsampling import (
    DOWNSAMPLED,
    MEANS_POLICY,
    continuous_query,
    continuous_query_name,
    first_window_s,
    identifier,
    select_into,
)
from edge_agent.adapters.telemetry.server import TelemetryServer, TelemetryServerError, open_http, unreachable
from edge_agent.adapters.telemetry.setup_plan import SetupPlan, Step, StepResult, older_points_error

if TYPE_CHECKING:
    import httpx

RAW_POLICY = "autogen"  # what InfluxDB calls the policy that a new database begins with
_RAW_SHARD, _MEANS_SHARD = "1d", "30d"  # data leaves by whole shards: a shard is a small part of what is kept
_NO_MORE = "continuous query already exists"
_ANSWER_TIMEOUT_S = 300.0  # a backfill reads two weeks of points


def planned(database: str, plan: SetupPlan) -> list[Step]:
    """Returns the steps of an empty server."""
    steps = [
        Step(f"database {database}", f"CREATE DATABASE {identifier(database)}"),
        Step(_raw_words(plan), _policy("ALTER", RAW_POLICY, database, plan.raw_days, _RAW_SHARD) + " DEFAULT"),
        Step(_means_words(plan), _policy("CREATE", MEANS_POLICY, database, plan.means_days, _MEANS_SHARD)),
    ]
    steps += [
        Step(f"figures of {kept.measurement}", continuous_query(kept, database, RAW_POLICY)) for kept in DOWNSAMPLED
    ]
    return steps + (_backfill_steps(database, RAW_POLICY, plan) if plan.backfill else [])


def set_up_influx1(server: TelemetryServer, plan: SetupPlan) -> list[Step]:
    """Does what is missing and returns each step with its result.

    Raises:
        TelemetryServerError: the server cannot be reached or refuses a step.
        SettingsError: points are there that only `plan.delete_older` may delete.
    """
    with open_http(server) as http:
        return _Influx1(http, server).set_up(plan)


class _Influx1:
    def __init__(self, http: httpx.Client, server: TelemetryServer) -> None:
        self._http = http
        self._server = server
        self._database = server.database

    def set_up(self, plan: SetupPlan) -> list[Step]:
        steps = [self._create_database()]
        policies = self._policies()
        raw = next((name for name, row in policies.items() if row["default"]), RAW_POLICY)
        steps.append(self._keep_raw(raw, policies, plan))
        means = _policy("CREATE", MEANS_POLICY, self._database, plan.means_days, _MEANS_SHARD)
        steps.append(self._keep(_means_words(plan), MEANS_POLICY, policies, plan.means_days, means))
        steps += [self._schedule(kept.measurement, raw) for kept in DOWNSAMPLED]
        if plan.backfill:
            for step in _backfill_steps(self._database, raw, plan):
                written = _values(self._run(step.statement, timeout_s=_ANSWER_TIMEOUT_S))[0][1]
                steps.append(Step(f"{step.what}: {written} written", step.statement, StepResult.DONE))
        return steps

    def _create_database(self) -> Step:
        statement = f"CREATE DATABASE {identifier(self._database)}"
        there = any(row[0] == self._database for row in _values(self._run("SHOW DATABASES")))
        if not there:
            self._run(statement)
        return Step(f"database {self._database}", statement, StepResult.UNCHANGED if there else StepResult.CREATED)

    def _policies(self) -> dict[str, dict[str, Any]]:
        [series] = self._run(f"SHOW RETENTION POLICIES ON {identifier(self._database)}")
        rows = (dict(zip(series["columns"], row, strict=True)) for row in series.get("values", []))
        return {row["name"]: row for row in rows}

    def _keep_raw(self, raw: str, policies: dict[str, dict[str, Any]], plan: SetupPlan) -> Step:
        kept_days = _days(policies[raw]["duration"]) if raw in policies else plan.raw_days
        # with the bound as it is, old points are only those that the server has not removed yet
        if 0 < plan.raw_days < (kept_days or math.inf) and not plan.delete_older:
            source = f"{identifier(self._database)}.{identifier(raw)}./.*/"
            older = f"time < now() - {plan.raw_days}d LIMIT 1"
            if self._run(" ".join(("SELECT * FROM", source, "WHERE", older))):
                raise older_points_error(self._database, plan.raw_days)
        statement = _policy("CREATE", raw, self._database, plan.raw_days, _RAW_SHARD) + " DEFAULT"
        return self._keep(_raw_words(plan), raw, policies, plan.raw_days, statement)

    def _keep(self, what: str, name: str, policies: dict[str, dict[str, Any]], days: int, create: str) -> Step:
        if name not in policies:
            self._run(create)
            return Step(what, create, StepResult.CREATED)
        alter = create.replace("CREATE", "ALTER", 1)
        same = _days(policies[name]["duration"]) == days
        if not same:
            self._run(alter)
        return Step(what, alter, StepResult.UNCHANGED if same else StepResult.CHANGED)

    def _schedule(self, measurement: str, raw: str) -> Step:
        kept = next(one for one in DOWNSAMPLED if one.measurement == measurement)
        statement = continuous_query(kept, self._database, raw)
        what, name = f"figures of {measurement}", continuous_query_name(kept)
        before = self._continuous_query(name)
        try:
            self._run(statement)  # the same once more is no error, another under this name is
        except TelemetryServerError as error:
            if _NO_MORE not in str(error):
                raise
            self._run(f"DROP CONTINUOUS QUERY {identifier(name)} ON {identifier(self._database)}")
            self._run(statement)
        if before is None:
            return Step(what, statement, StepResult.CREATED)
        same = self._continuous_query(name) == before
        return Step(what, statement, StepResult.UNCHANGED if same else StepResult.CHANGED)

    def _continuous_query(self, name: str) -> str | None:
        for series in self._run("SHOW CONTINUOUS QUERIES"):
            if series["name"] == self._database:
                return next((row[1] for row in series.get("values", []) if row[0] == name), None)
        return None

    def _run(self, statement: str, *, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """Runs one statement; returns its series. Raises TelemetryServerError with the server's words."""
        import httpx

        timeout = self._server.timeout_s if timeout_s is None else timeout_s
        try:
            answer = self._http.post(self._server.url + "/query", data={"q": statement}, timeout=timeout)
            body = answer.json()
        except httpx.HTTPError as error:
            raise TelemetryServerError(unreachable(self._server, error), retryable=True) from None
        except ValueError:
            body = {"error": f"status {answer.status_code}"}
        result: dict[str, Any] = body["results"][0] if body.get("results") else body
        if refusal := result.get("error"):
            verb = " ".join(statement.split()[:3])
            raise TelemetryServerError(
                f"{self._server.url} refuses {verb}: {refusal}", retryable=answer.status_code >= 500
            )
        series: list[dict[str, Any]] = result.get("series", [])
        return series


def _values(series: list[dict[str, Any]]) -> list[list[Any]]:
    return [row for one in series for row in one.get("values", [])]


def _days(duration: str) -> float:
    """Returns InfluxDB's "336h0m0s" in days; 0 ("0s") is for ever, in its words as in ours."""
    units = {"h": 1 / 24, "m": 1 / 1440, "s": 1 / 86400}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def _policy(verb: str, name: str, database: str, days: int, shard: str) -> str:
    kept = f"{days}d" if days else "INF"
    return (
        f"{verb} RETENTION POLICY {identifier(name)} ON {identifier(database)} DURATION {kept} REPLICATION 1 "
        f"SHARD DURATION {shard}"
    )


def _backfill_steps(database: str, raw: str, plan: SetupPlan) -> list[Step]:
    from_s = first_window_s(time.time(), plan.raw_days)
    return [
        Step(f"five-minute figures of {kept.measurement} so far", select_into(kept, database, raw, from_s=from_s))
        for kept in DOWNSAMPLED
    ]


def _raw_words(plan: SetupPlan) -> str:
    return f"points kept {plan.raw_days} days" if plan.raw_days else "points kept for ever"


def _means_words(plan: SetupPlan) -> str:
    return (
        f"five-minute figures kept {plan.means_days} days" if plan.means_days else "five-minute figures kept for ever"
    )
