"""Every query of every panel, variable and alert, on a real InfluxDB 1.6 with the data of a live run.

InfluxQL is the same in InfluxDB 2 and 3 Core, neither of which can run here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.monitoring.conftest import HISTORY, MESH, LiveRun
from tests.monitoring.files import PanelQuery, alert_group, dashboards, panel_queries, variable_queries
from tests.monitoring.grafana import Shown
from tests.support.databases import DATABASE

pytestmark = pytest.mark.broker
_PANELS, _VARIABLES = list(panel_queries()), list(variable_queries())
_RULES = alert_group()["rules"]


def shown(run: LiveRun, dashboard: str, *, all_devices: bool) -> Shown:
    """What a user sees right after the run who has chosen its mesh: all devices of it, or the first alone."""
    chosen = {"mesh": MESH, "device": ".*" if all_devices else run.devices[0]}
    if dashboard == "moamesh-history":
        return Shown(run.from_s - 3600.0, run.to_s, "5m", chosen)
    return Shown(run.from_s - 5.0, run.to_s + 5.0, "2s", chosen)


def columns_of(query: str) -> list[str]:
    """The names that a query gives its columns, those of its subquery left out."""
    return re.findall(r'AS "([^"]+)"', query.partition(" FROM (")[0].partition(" FROM ")[0])


def tags_of(query: str) -> set[str]:
    """The tags by which a query groups what it gives, those of its subquery left out."""
    outer = query.rpartition(") WHERE ")[2] if " FROM (" in query else query
    return set(re.findall(r'"(\w+)"', outer.partition(" GROUP BY ")[2]))


def database_of(asked: PanelQuery) -> str:
    return HISTORY if asked.dashboard == "moamesh-history" else DATABASE


def check_shape(query: str, found: list[dict[str, Any]]) -> None:
    """Rows are there, of the columns and tags asked for, and every column has numbers and nothing else."""
    assert found, "no rows"
    columns = columns_of(query)
    assert columns
    for series in found:
        assert series["columns"] == ["time", *columns]
        assert set(series.get("tags", {})) == tags_of(query)
        assert all(series.get("tags", {}).values()), "a tag is empty"
    for at, column in enumerate(columns, start=1):
        values = [row[at] for series in found for row in series["values"] if row[at] is not None]
        assert values, f"{column} has no values"
        assert all(type(value) in (int, float) for value in values), column


@pytest.mark.parametrize("asked", _PANELS, ids=[one.where for one in _PANELS])
def test_every_panels_query_gives_rows_of_the_right_shape(live_run: LiveRun, asked: PanelQuery) -> None:
    single = asked.dashboard == "moamesh-device"
    filled = shown(live_run, asked.dashboard, all_devices=not single).fill_in(asked.query)
    found = live_run.database.influxql(filled, database_of(asked))
    check_shape(asked.query, found)
    if asked.table:
        assert all(len(series["values"]) == 1 for series in found), "a table has one row for each tag set"
    if "device_id" in tags_of(asked.query):
        assert {series["tags"]["device_id"] for series in found} == set(live_run.devices)


@pytest.mark.parametrize("asked", _VARIABLES, ids=[one.where for one in _VARIABLES])
def test_every_variable_offers_what_is_there(live_run: LiveRun, asked: PanelQuery) -> None:
    filled = shown(live_run, asked.dashboard, all_devices=True).fill_in(asked.query)
    [series] = live_run.database.influxql(filled)
    assert series["columns"] == ["key", "value"]  # Grafana takes the second column of SHOW TAG VALUES
    offered = {row[1] for row in series["values"]}
    assert offered == (set(live_run.devices) if asked.where.endswith("$device") else {MESH})


def test_choosing_one_device_or_two_shows_these_alone(live_run: LiveRun) -> None:
    [load] = [one for one in _PANELS if one.where == "moamesh-mesh/Offered load ρ/A"]
    for wanted in (live_run.devices[:1], live_run.devices[1:]):
        window = Shown(live_run.from_s, live_run.to_s, "2s", {"mesh": MESH, "device": wanted})
        found = live_run.database.influxql(window.fill_in(load.query))
        assert {series["tags"]["device_id"] for series in found} == set(wanted)


def test_another_mesh_has_nothing_to_show(live_run: LiveRun) -> None:
    for asked in _PANELS:
        window = Shown(live_run.from_s, live_run.to_s, "2s", {"mesh": "watche", "device": ".*"})
        assert not live_run.database.influxql(window.fill_in(asked.query), database_of(asked)), asked.where


@pytest.mark.parametrize("rule", _RULES, ids=[rule["uid"] for rule in _RULES])
def test_every_alerts_query_gives_rows_of_the_right_shape(live_run: LiveRun, rule: dict[str, Any]) -> None:
    [source] = [one for one in rule["data"] if one["datasourceUid"] != "__expr__"]
    query = source["model"]["query"]
    assert "${" not in query, "an alert knows no dashboard variables"
    back = source["relativeTimeRange"]
    found = live_run.database.influxql(Shown(live_run.to_s - back["from"], live_run.to_s - back["to"]).fill_in(query))
    check_shape(query, found)
    assert {series["tags"]["device_id"] for series in found} == set(live_run.devices)
    for series in found:
        said = re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values()))
        assert set(said) <= set(series["tags"]), "an annotation names a label that the query does not give"


def test_a_synthetic_engine_shows_as_one_with_its_models_name(live_run: LiveRun) -> None:
    [devices] = [one for one in _PANELS if one.where == "moamesh-mesh/Devices/A"]
    found = live_run.database.influxql(shown(live_run, devices.dashboard, all_devices=True).fill_in(devices.query))
    at = found[0]["columns"].index("synthetic")
    assert all(series["values"][0][at] == 1 for series in found)
    assert all(series["tags"]["model"].startswith("synthetic") for series in found)
    [table] = [panel for panel in dashboards()["moamesh-mesh"]["panels"] if panel["type"] == "table"]
    overrides = {one["matcher"]["options"]: one["properties"] for one in table["fieldConfig"]["overrides"]}
    [mappings] = [one["value"] for one in overrides["synthetic"] if one["id"] == "mappings"]
    assert {key: result["text"] for one in mappings for key, result in one["options"].items()}["1"].startswith("synthe")


def test_the_numbers_of_a_panel_are_those_of_the_points(live_run: LiveRun) -> None:
    """Weighted means and degraded answers, beside the same computed here from the single points."""
    database = live_run.database
    window = shown(live_run, "moamesh-experiment", all_devices=True)
    [compared] = [one for one in _PANELS if one.where == "moamesh-experiment/Meshes compared/A"]
    [row] = database.influxql(window.fill_in(compared.query))
    points = database.influxql("SELECT interval_s, requests_waiting_mean, offered_load FROM agent_queue")[0]["values"]
    total_s = sum(point[1] for point in points)
    figures = dict(zip(row["columns"], row["values"][0], strict=True))
    assert figures["measured"] == pytest.approx(sum(point[1] * point[2] for point in points) / total_s, rel=1e-9)
    assert figures["ρ"] == pytest.approx(sum(point[1] * point[3] for point in points) / total_s, rel=1e-9)

    [degraded] = [one for one in _PANELS if one.where == "moamesh-mesh/Degraded answers a minute/A"]
    [series] = database.influxql(window.fill_in(degraded.query))
    sessions = database.influxql("SELECT outcome, responses_joined, responses_expected FROM agent_session")[0]["values"]
    wanted = sum(outcome == "answered" and joined < expected for _, outcome, joined, expected in sessions)
    assert wanted > 0
    assert sum(row[1] for row in series["values"]) * 2000 / 60000 == pytest.approx(wanted)
