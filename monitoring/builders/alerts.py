"""The alert rules: each a query, its last value, and a limit, for every device by itself.

Grafana puts its time in place of `$timeFilter` in alert queries too, but knows no dashboard variables there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from grafana_foundation_sdk.builders import expr
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

from monitoring.builders import device, mesh
from monitoring.builders.influxql import DATASOURCE_UID, InfluxQl, select

FOLDER = "moamesh"
EVALUATED_EVERY = "1m"
QUEUE_LIMIT = 0.8
SPOOL_GROWTH_POINTS = 100  # in ten minutes: a handful of points is always on its way
_EXPRESSION = "__expr__"  # how Grafana names its own arithmetic as a data source
_BY_DEVICE = ('"mesh"', '"device_id"')
_BY_SERVER = (*_BY_DEVICE, '"server"')
_FILLED = '(mean("requests_waiting_mean") + mean("utilisation")) / mean("queue_capacity") AS "filled"'
# A count of nothing is 0 as long as the device has said anything in the last hour. The mean of two minutes, because the
# last one has only begun.
_REPORTS = 'moving_average(count("offered_load"), 2) AS "reports"'
_GROWN = 'last("spool_points") - first("spool_points") AS "grown"'
_GONE = " + ".join(f'last("{of}") - first("{of}")' for of in ("points_lost", "points_refused", "points_dropped"))


@final
@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule.

    when: in words, for people. looks_back_s: how much of the past the query gets. fires: "lt" or "gt" `limit`.
    lasting: for how long, before people are told. panel: (dashboard's uid, title of its panel) to look at.
    """

    uid: str
    title: str
    when: str
    summary: str
    what_to_do: str
    query: str
    looks_back_s: int
    fires: Literal["lt", "gt"]
    limit: float
    lasting: str
    severity: str
    panel: tuple[str, str]


def _of_devices(fields: str, window: str) -> str:
    return select(fields, "agent_queue", (), by=(f"time({window})", *_BY_DEVICE))


def _of_telemetry(fields: str) -> str:
    return select(fields, "agent_telemetry", (), by=_BY_SERVER)


RULES = (
    Rule(
        "moamesh-overloaded",
        "Load above the target",
        "The stability margin is below 0 for five minutes.",
        "{{ $labels.device_id }} in {{ $labels.mesh }} gets more work than it can do: its stability margin is "
        '{{ printf "%.2f" $values.B.Value }}.',
        "Its queue grows for as long as this lasts. Lower M (layers) or k (fanout), or set layer_plan = "
        '"adaptive"; add devices, or use a smaller model. Are clients asking in a loop?',
        _of_devices('mean("stability_margin") AS "margin"', "30s"),
        looks_back_s=120,
        fires="lt",
        limit=0.0,
        lasting="5m",
        severity="warning",
        panel=(mesh.UID, mesh.LOAD_TITLE),
    ),
    Rule(
        "moamesh-queue-full",
        "Queue over 80 % of its places",
        "Waiting and running items take more than 80 % of queue_capacity for two minutes.",
        "{{ $labels.device_id }} in {{ $labels.mesh }} has "
        "{{ humanizePercentage $values.B.Value }} of its places taken.",
        "Soon prompts are refused and peers are told busy. If the load stays under 100 %, prompts come in bursts: "
        "raise queue_capacity. If not, see the advice on too much load.",
        _of_devices(_FILLED, "30s"),
        looks_back_s=120,
        fires="gt",
        limit=QUEUE_LIMIT,
        lasting="2m",
        severity="warning",
        panel=(device.UID, device.QUEUE_TITLE),
    ),
    Rule(
        "moamesh-device-silent",
        "Device silent",
        "No figures for three to four minutes, of a device that sent some in the last hour.",
        "{{ $labels.device_id }} in {{ $labels.mesh }} has sent no figures for over two minutes.",
        "Is the device on, its agent running (moamesh status), its network up? If it answers prompts all the same, it "
        "cannot reach the database: its points wait in its spool. Ends by itself an hour after a device was taken "
        "away.",
        _of_devices(_REPORTS, "1m") + " fill(0)",
        looks_back_s=3600,
        fires="lt",
        limit=0.1,
        lasting="2m",
        severity="critical",
        panel=(mesh.UID, mesh.TABLE_TITLE),
    ),
    Rule(
        "moamesh-spool-growing",
        "Telemetry spool growing",
        "100 points more wait than ten minutes ago, for five minutes.",
        "{{ $labels.device_id }} has {{ $values.B.Value }} points more waiting for {{ $labels.server }} than ten "
        "minutes ago.",
        "The database takes points more slowly than they are made, or cannot be reached: see the agent's log and "
        "the database. Nothing is lost before the spool is full (file_bytes_max x files_max under [telemetry]).",
        _of_telemetry(_GROWN),
        looks_back_s=600,
        fires="gt",
        limit=SPOOL_GROWTH_POINTS,
        lasting="5m",
        severity="warning",
        panel=(device.UID, device.SPOOL_TITLE),
    ),
    Rule(
        "moamesh-points-lost",
        "Telemetry lost",
        "A point was lost, refused or dropped in the last half hour.",
        "{{ $labels.device_id }} has lost {{ $values.B.Value }} points for {{ $labels.server }} in the last half hour.",
        "Lost: the spool was full; raise files_max under [telemetry]. Refused: the database did not want them; its "
        "words are in a file beside the spool. Dropped: the disk could not be written.",
        _of_telemetry(f'{_GONE} AS "lost"'),
        looks_back_s=1800,
        fires="gt",
        limit=0.0,
        lasting="0s",
        severity="warning",
        panel=(device.UID, device.SPOOL_TITLE),
    ),
)


def provisioning(dashboards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the rules as Grafana's alert provisioning file holds them; panels are found in `dashboards` by title."""
    group = {"orgId": 1, "name": "moamesh", "folder": FOLDER, "interval": EVALUATED_EVERY}
    return {"apiVersion": 1, "groups": [group | {"rules": [_stored(rule, dashboards) for rule in RULES]}]}


def _stored(rule: Rule, dashboards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    uid, title = rule.panel
    [panel_id] = [
        panel["id"]
        for board in dashboards
        if board["uid"] == uid
        for panel in board["panels"]
        if panel["type"] != "row" and panel["title"] == title
    ]
    # a series without values has no state of its own, a silent device has a rule of its own, and a database that does
    # not answer for once is no news of the mesh
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "C",
        "data": [
            _data("A", DATASOURCE_UID, rule.looks_back_s, InfluxQl(rule.query)),
            _data("B", _EXPRESSION, 0, _last()),
            _data("C", _EXPRESSION, 0, _threshold(rule)),
        ],
        "dashboardUid": uid,
        "panelId": panel_id,
        "noDataState": "OK",
        "execErrState": "KeepLast",
        "for": rule.lasting,
        "annotations": {"summary": rule.summary, "description": rule.what_to_do},
        "labels": {"severity": rule.severity, "service": "moamesh"},
        "isPaused": False,
    }


def _data(ref_id: str, source: str, looks_back_s: int, model: Dataquery) -> dict[str, Any]:
    return {
        "refId": ref_id,
        "relativeTimeRange": {"from": looks_back_s, "to": 0},
        "datasourceUid": source,
        "model": json.loads(JSONEncoder().encode(model)),
    }


def _last() -> Dataquery:
    query = expr.TypeReduce().ref_id("B").expression("A").reducer("last").datasource(_arithmetic())
    return query.settings(expr.ExprTypeReduceSettings().mode("dropNN")).build()


def _threshold(rule: Rule) -> Dataquery:
    limit = expr.ExprTypeThresholdConditionsEvaluator().type(rule.fires).params([rule.limit])
    condition = expr.ExprTypeThresholdConditions().evaluator(limit)
    return expr.TypeThreshold().ref_id("C").expression("B").conditions([condition]).datasource(_arithmetic()).build()


def _arithmetic() -> DataSourceRef:
    return DataSourceRef(type_val=_EXPRESSION, uid=_EXPRESSION)
