"""The dashboards as Grafana would lay them out: nobody can look at them here."""

from __future__ import annotations

import re
from itertools import pairwise, product
from typing import Any

import pytest

from edge_agent.adapters.telemetry.downsampling import DOWNSAMPLED, MEANS_POLICY
from edge_agent.wire.measurements import FIELDS, TAGS
from monitoring.builders.history import POLICY
from monitoring.builders.influxql import DATASOURCE_UID
from tests.monitoring.files import PROVISIONING, alert_group, dashboards, panel_queries, panels, read_yaml

_DASHBOARDS = dashboards()
_COLUMNS = 24
# beside what `wire.measurements` names: what the sink tells of itself
_TELEMETRY = {"points_written", "points_sent", "points_lost", "points_refused", "points_dropped", "spool_points"}


@pytest.fixture(params=_DASHBOARDS.values(), ids=_DASHBOARDS.keys())
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_there_are_the_four_dashboards_under_their_uids() -> None:
    assert set(_DASHBOARDS) == {"moamesh-mesh", "moamesh-device", "moamesh-experiment", "moamesh-history"}
    assert all(found["uid"] == uid for uid, found in _DASHBOARDS.items())
    assert len({found["title"] for found in _DASHBOARDS.values()}) == len(_DASHBOARDS)


def test_no_panels_overlap_and_none_leaves_the_grid(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= _COLUMNS, panel["title"]
        for cell in product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken.get(cell)}"
            taken[cell] = panel["title"]


def test_panels_stand_in_reading_order_and_fill_their_rows(dashboard: dict[str, Any]) -> None:
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in dashboard["panels"]]
    assert all(before < after for before, after in pairwise(places))
    widths: dict[int, int] = {}
    for panel in dashboard["panels"]:
        widths[panel["gridPos"]["y"]] = widths.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(widths.values()) == {_COLUMNS}


def test_ids_are_unique_and_every_panel_says_what_it_is(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        assert panel["title"].strip()
        assert len(panel["description"].split()) >= 4, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)


def test_everything_asks_the_provisioned_data_source(dashboard: dict[str, Any]) -> None:
    [source] = read_yaml(PROVISIONING / "datasources" / "moamesh.yaml")["datasources"]
    assert (source["type"], source["uid"]) == ("influxdb", DATASOURCE_UID)
    reference = {"type": source["type"], "uid": source["uid"]}
    for panel in panels(dashboard):
        assert panel["datasource"] == reference
        assert all(target["datasource"] == reference for target in panel["targets"])
    assert all(variable["datasource"] == reference for variable in dashboard["templating"]["list"])


def test_variables_come_before_those_that_use_them(dashboard: dict[str, Any]) -> None:
    known: set[str] = set()
    for variable in dashboard["templating"]["list"]:
        assert set(re.findall(r"\$\{(\w+):", variable["query"])) <= known
        known.add(variable["name"])
    assert known
    for asked in panel_queries():
        if asked.dashboard == dashboard["uid"]:
            assert set(re.findall(r"\$\{(\w+):", asked.query)) <= known


def test_tables_name_columns_that_their_queries_give(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        if panel["type"] == "table":
            query = panel["targets"][0]["query"]
            given = set(re.findall(r'AS "([^"]+)"', query)) | set(re.findall(r'"(\w+)"', query.rpartition("BY")[2]))
            [organised] = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
            assert set(organised["indexByName"]) <= given, panel["title"]


def test_queries_ask_for_fields_that_devices_write() -> None:
    """A misspelt field is no error in InfluxQL: it gives nothing."""
    written = set().union(*(set(fields) for fields in FIELDS.values()), *(set(tags) for tags in TAGS.values()))
    figures = {name for kept in DOWNSAMPLED for _, _, name in kept.columns()}
    measurements = {*FIELDS, "agent_telemetry", "server"}
    for asked in panel_queries():
        names = set(re.findall(r'"([^"]+)"', asked.query))
        own = set(re.findall(r'AS "([^"]+)"', asked.query))
        wanted = figures | {POLICY} if asked.dashboard == "moamesh-history" else set()
        unknown = names - own - written - _TELEMETRY - measurements - wanted
        assert not unknown, f"{asked.where}: {unknown}"


def test_history_reads_the_policy_that_is_set_up() -> None:
    assert POLICY == MEANS_POLICY


def test_every_alert_leads_to_a_panel_and_says_what_to_do() -> None:
    rules = alert_group()["rules"]
    assert len({rule["uid"] for rule in rules}) == len(rules) == 5
    for rule in rules:
        board = _DASHBOARDS[rule["dashboardUid"]]
        assert rule["panelId"] in {panel["id"] for panel in panels(board)}
        assert len(rule["annotations"]["description"].split()) >= 15
        assert "device_id" in rule["annotations"]["summary"]
        assert [one["refId"] for one in rule["data"]] == ["A", "B", "C"]
        assert rule["condition"] == "C"
        assert rule["noDataState"] in ("OK", "Alerting", "NoData", "KeepLast")
        assert rule["execErrState"] in ("OK", "Alerting", "Error", "KeepLast")
        # Grafana puts its environment in place of `$NAME` in labels (not in queries and annotations)
        assert not any("$" in value for value in rule["labels"].values())
