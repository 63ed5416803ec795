"""Sets InfluxDB 2 up: buckets, their names for InfluxQL (DBRP mappings), and the task that makes five-minute figures.

The documented HTTP interface of InfluxDB 2, spoken as it is: of its own client, seven requests would be used, untyped.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from edge_agent.adapters.telemetry.downsampling import (
    MEANS_POLICY,
    ONE_DAY_S,
    flux_backfill,
    flux_task,
    means_bucket,
    task_name,
)
from edge_agent.adapters.telemetry.server import TelemetryServer, TelemetryServerError, open_http, unreachable
from edge_agent.adapters.telemetry.setup_plan import SetupPlan, Step, StepResult, older_points_error
from edge_agent.core.errors import SettingsError

if TYPE_CHECKING:
    import httpx

RAW_POLICY = "autogen"  # the policy that InfluxQL means where a query names none
_BACKFILL_TIMEOUT_S = 300.0  # it reads two weeks of points
_TASK_WORDS = "task for the five-minute figures"


def planned_influx2(database: str, plan: SetupPlan) -> list[Step]:
    """Returns the steps of an empty server."""
    means = means_bucket(database)
    steps = [
        Step(_bucket_words(database, plan.raw_days), _bucket_request(database, plan.raw_days)),
        Step(_bucket_words(means, plan.means_days), _bucket_request(means, plan.means_days)),
        Step(f"InfluxQL name {database}", _mapping_request(database, RAW_POLICY, database)),
        Step(f"InfluxQL name {database}.{MEANS_POLICY}", _mapping_request(database, MEANS_POLICY, means)),
        Step(_TASK_WORDS, flux_task(database)),
    ]
    return [*steps, _backfill_step(database, plan)] if plan.backfill else steps


def set_up_influx2(server: TelemetryServer, plan: SetupPlan) -> list[Step]:
    """Does what is missing and returns each step with its result.

    Raises:
        TelemetryServerError: the server cannot be reached or refuses a step.
        SettingsError: a token or the organisation is missing, or points are there that only `plan.delete_older` may
            delete.
    """
    if not server.token:
        raise SettingsError("InfluxDB 2 is set up with a token that may make buckets and tasks: see --token-file")
    with open_http(server) as http:
        return _Influx2(http, server).set_up(plan)


class _Influx2:
    def __init__(self, http: httpx.Client, server: TelemetryServer) -> None:
        self._http = http
        self._server = server
        self._database = server.database
        self._org_id = self._find_org()

    def set_up(self, plan: SetupPlan) -> list[Step]:
        means = means_bucket(self._database)
        raw_id, raw = self._keep_bucket(self._database, plan.raw_days, plan)
        means_id, kept = self._keep_bucket(means, plan.means_days, plan)
        steps = [
            *(raw, kept),
            self._map(RAW_POLICY, raw_id, self._database),
            self._map(MEANS_POLICY, means_id, means),
            self._keep_task(),
        ]
        if plan.backfill:
            step = _backfill_step(self._database, plan)
            self._query(step.statement, timeout_s=_BACKFILL_TIMEOUT_S)
            steps.append(Step(step.what, step.statement, StepResult.DONE))
        return steps

    def _find_org(self) -> str:
        found = self._listed("orgs", "orgs", **({"org": self._server.org} if self._server.org else {}))
        if len(found) != 1:
            names = ", ".join(sorted(one["name"] for one in found)) or "none that this token may see"
            raise SettingsError(f"which organisation of {self._server.url}? --org is one of: {names}")
        return str(found[0]["id"])

    def _keep_bucket(self, name: str, days: int, plan: SetupPlan) -> tuple[str, Step]:
        words, request = _bucket_words(name, days), _bucket_request(name, days)
        # the type is the one there is; 0 seconds is how InfluxDB says for ever
        rules = {"retentionRules": [{"type": "expire", "everySeconds": days * ONE_DAY_S}]}
        found = [one for one in self._listed("buckets", "buckets", name=name) if one["name"] == name]
        if not found:
            made = self._ask("POST", "buckets", {"orgID": self._org_id, "name": name, **rules})
            return str(made["id"]), Step(words, request, StepResult.CREATED)
        bucket_id = str(found[0]["id"])
        kept_s = sum(rule.get("everySeconds", 0) for rule in found[0].get("retentionRules", []))
        if kept_s == days * ONE_DAY_S:
            return bucket_id, Step(words, request, StepResult.UNCHANGED)
        if days and not plan.delete_older and self._has_older(name, days):
            raise older_points_error(name, days)
        self._ask("PATCH", f"buckets/{bucket_id}", rules)
        return bucket_id, Step(words, request.replace("POST", "PATCH", 1), StepResult.CHANGED)

    def _has_older(self, bucket: str, days: int) -> bool:
        source = f"from(bucket: {json.dumps(bucket)})"
        rows = self._query(f"{source} |> range(start: 0, stop: -{days}d) |> limit(n: 1)", timeout_s=_BACKFILL_TIMEOUT_S)
        return any(line.strip() and not line.startswith("#") for line in rows.splitlines())

    def _map(self, policy: str, bucket_id: str, bucket: str) -> Step:
        default = policy == RAW_POLICY
        name = self._database if default else f"{self._database}.{policy}"
        words, request = f"InfluxQL name {name}", _mapping_request(self._database, policy, bucket)
        found = self._listed("dbrps", "content", db=self._database, rp=policy)
        # one that InfluxDB makes up by itself leads to the same bucket and does as well
        if any(one["bucketID"] == bucket_id and one.get("default", False) >= default for one in found):
            return Step(words, request, StepResult.UNCHANGED)
        wanted = {"database": self._database, "retention_policy": policy, "default": default, "bucketID": bucket_id}
        self._ask("POST", "dbrps", {"orgID": self._org_id, **wanted})
        return Step(words, request, StepResult.CREATED)

    def _keep_task(self) -> Step:
        flux = flux_task(self._database)
        found = self._listed("tasks", "tasks", name=task_name(self._database))
        if not found:
            self._ask("POST", "tasks", {"orgID": self._org_id, "flux": flux, "status": "active"})
            return Step(_TASK_WORDS, flux, StepResult.CREATED)
        if found[0]["flux"] == flux and found[0]["status"] == "active":
            return Step(_TASK_WORDS, flux, StepResult.UNCHANGED)
        self._ask("PATCH", f"tasks/{found[0]['id']}", {"flux": flux, "status": "active"})
        return Step(_TASK_WORDS, flux, StepResult.CHANGED)

    def _listed(self, what: str, key: str, **wanted: str) -> list[dict[str, Any]]:
        """Returns what there is of a kind, of our organisation; nothing found may come as 404 or as an empty list."""
        own = {} if what == "orgs" else {"orgID": self._org_id}
        found = self._send("GET", what, parameters=own | wanted, none_is_404=True)
        listed: list[dict[str, Any]] = found.json().get(key) or [] if found.status_code != 404 else []
        return listed

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(method, path, body=body).json()
        return answer

    def _query(self, flux: str, *, timeout_s: float) -> str:
        """Runs Flux and returns its rows as annotated CSV."""
        parameters = {"orgID": self._org_id}
        body = {"query": flux, "type": "flux"}
        return self._send("POST", "query", parameters=parameters, body=body, timeout_s=timeout_s).text

    def _send(
        self,
        method: str,
        path: str,
        *,
        parameters: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        timeout_s: float | None = None,
        none_is_404: bool = False,
    ) -> httpx.Response:
        import httpx

        try:
            answer = self._http.request(
                method,
                f"{self._server.url}/api/v2/{path}",
                params=parameters,
                json=body,
                timeout=self._server.timeout_s if timeout_s is None else timeout_s,
            )
        except httpx.HTTPError as error:
            raise TelemetryServerError(unreachable(self._server, error), retryable=True) from None
        if answer.is_success or (none_is_404 and answer.status_code == 404):
            return answer
        try:
            detail = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            detail = answer.reason_phrase
        message = f"{self._server.url} refuses {method} /api/v2/{path} ({answer.status_code}): {detail}"
        raise TelemetryServerError(message, retryable=answer.status_code >= 500)


def _backfill_step(database: str, plan: SetupPlan) -> Step:
    return Step("five-minute figures so far", flux_backfill(database, time.time(), plan.raw_days))


def _bucket_words(bucket: str, days: int) -> str:
    return f"bucket {bucket}, kept {f'{days} days' if days else 'for ever'}"


def _bucket_request(bucket: str, days: int) -> str:
    return f'POST /api/v2/buckets {{"name": "{bucket}", "retentionRules": [{{"everySeconds": {days * ONE_DAY_S}}}]}}'


def _mapping_request(database: str, policy: str, bucket: str) -> str:
    names = f'"database": "{database}", "retention_policy": "{policy}", "bucket": "{bucket}"'
    return f"POST /api/v2/dbrps {{{names}}}"
