"""A dashboard out of its variables and its rows of panels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.builders.influxql import DATASOURCE, OF_MESH

TAG = "moamesh"
Panels: TypeAlias = Sequence[Builder[models.Panel]]
Row: TypeAlias = tuple[str, Panels]


def mesh_variable(*, several: bool = False) -> dashboard.QueryVariable:
    """Returns the choice of a mesh, or of several."""
    variable = _variable("mesh", "Mesh", 'SHOW TAG VALUES FROM "agent_queue" WITH KEY = "mesh"')
    return variable.multi(True).include_all(True).all_value(".*") if several else variable


def device_variable(*, several: bool = True) -> dashboard.QueryVariable:
    """Returns the choice of the mesh's devices; `several` begins with all of them."""
    query = f'SHOW TAG VALUES FROM "agent_queue" WITH KEY = "device_id" WHERE {OF_MESH}'
    variable = _variable("device", "Device", query)
    return variable.multi(True).include_all(True).all_value(".*").current(_ALL) if several else variable


def page(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[dashboard.QueryVariable],
    rows: Sequence[Row],
    *,
    since: str = "now-1h",
    refresh: str = "10s",
) -> dict[str, Any]:
    """Returns a dashboard as the JSON that Grafana loads. Panels and rows are numbered in reading order."""
    board = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).time(since, "now")
    board = board.refresh(refresh).timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR).link(_others())
    for variable in variables:
        board = board.with_variable(variable)
    for heading, panels in rows:
        board = board.with_row(dashboard.Row(heading))
        for panel in panels:
            board = board.with_panel(panel)
    built = board.build()
    for number, panel_model in enumerate(built.panels or [], start=1):
        panel_model.id_val = number
    return cast(dict[str, Any], json.loads(JSONEncoder().encode(built)))


_ALL = models.VariableOption(selected=True, text="All", value="$__all")


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
    )


def _others() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("moamesh").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True)
