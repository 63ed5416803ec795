"""The files that Grafana and Docker read, as they are committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
PROVISIONING = MONITORING / "grafana" / "provisioning"


class PanelQuery(NamedTuple):
    """One query of a dashboard: `where` names it for people."""

    where: str
    dashboard: str
    query: str
    table: bool


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid."""
    paths = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[PanelQuery]:
    """Every query of every panel."""
    for uid, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                where = f"{uid}/{panel['title']}/{target['refId']}"
                yield PanelQuery(where, uid, target["query"], target["resultFormat"] == "table")


def variable_queries() -> Iterator[PanelQuery]:
    """Every query of every variable."""
    for uid, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            yield PanelQuery(f"{uid}/${variable['name']}", uid, variable["query"], False)


def alert_group() -> dict[str, Any]:
    """The one group of alert rules."""
    [group] = read_yaml(PROVISIONING / "alerting" / "moamesh.yaml")["groups"]
    return group


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))
