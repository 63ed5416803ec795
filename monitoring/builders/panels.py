"""The four kinds of panel that the dashboards are made of, each with one look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries, xychart
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import xychart as xychart_models

from monitoring.builders.influxql import DATASOURCE, InfluxQl, Target

HEIGHT, NUMBER_HEIGHT = 8, 4
THIRD, HALF, FULL = 8, 12, 24  # of Grafana's 24 columns

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on, this colour. The first begins at `None`, which is everything below."""

Column: TypeAlias = tuple[str, str, Steps | None]
"""Of a table: its name, its unit ("": text), and thresholds that colour it."""

LOAD_STEPS: Steps = ((None, "green"), (0.8, "yellow"), (1.0, "red"))
MARGIN_STEPS: Steps = ((None, "red"), (0.0, "yellow"), (0.2, "green"))
ANY_IS_BAD: Steps = ((None, "green"), (1.0, "orange"))
PLAIN: Steps = ((None, "blue"),)

_PREDICTED = r"/predicted/"
_DASHED = [
    models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
    models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
]
_SYNTHETIC: list[models.ValueMapping] = [
    models.ValueMap({"0": models.ValueMappingResult(text="language model", color="green", index=0)}),
    models.ValueMap({"1": models.ValueMappingResult(text="synthetic: no language model", color="orange", index=1)}),
]


def curves(
    title: str,
    description: str,
    unit: str,
    query: str,
    *more: InfluxQl,
    alias: str = "$col",
    steps: Steps | None = None,
    stacked: bool = False,
    width: int = HALF,
) -> timeseries.Panel:
    """Returns curves over time. Those whose name has "predicted" in it are dashed; `steps` draws limits as lines."""
    panel = timeseries.Panel().title(title).description(description).datasource(DATASOURCE).unit(unit)
    panel = panel.height(HEIGHT).span(width).axis_soft_min(0).fill_opacity(8).line_width(1)
    panel = panel.show_points(common_models.VisibilityMode.AUTO).span_nulls(True)
    panel = panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.RIGHT)
        .calcs(["mean", "max", "lastNotNull"])
    )
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    panel = panel.override_by_regexp(_PREDICTED, _DASHED)
    if steps is not None:
        lines = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(lines)
    if stacked:
        panel = panel.draw_style(common_models.GraphDrawStyle.BARS).fill_opacity(70)
        panel = panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    for one in (InfluxQl(query, alias=alias), *more):
        panel = panel.with_target(Target(one))
    return panel


def number(title: str, description: str, unit: str, query: str, *, steps: Steps = PLAIN, width: int = 4) -> stat.Panel:
    """Returns one number in large, coloured by `steps`."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(NUMBER_HEIGHT)
        .span(width)
        .thresholds(_thresholds(steps))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .with_target(Target(InfluxQl(query)))
    )


def rows(
    title: str, description: str, query: str, columns: Sequence[tuple[str, str, Steps | None]], *, width: int = FULL
) -> table.Panel:
    """Returns a table. `columns` are the wanted columns in order: name, unit, and thresholds that colour the text."""
    panel = table.Panel().title(title).description(description).datasource(DATASOURCE).unit("short")
    panel = (
        panel.height(HEIGHT)
        .span(width)
        .filterable(True)
        .with_target(Target(InfluxQl(query, table=True)))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {name: at for at, (name, _, _) in enumerate(columns)},
                    "renameByName": {"device_id": "device"},
                },
            )
        )
    )
    for name, unit, steps in columns:
        properties = [models.DynamicConfigValue(id_val="unit", value=unit)] if unit else []
        if steps is not None:
            properties.append(models.DynamicConfigValue(id_val="thresholds", value=_thresholds(steps).build()))
            properties.append(models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
        if name == "synthetic":
            properties.append(models.DynamicConfigValue(id_val="mappings", value=_SYNTHETIC))
            properties.append(models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
        if name == "device_id":
            name = "device"
            properties.append(models.DynamicConfigValue(id_val="links", value=[_TO_DEVICE]))
        if properties:
            panel = panel.override_by_name(name, properties)
    return panel


def scatter(title: str, description: str, unit: str, query: str, x: str, ys: Sequence[str]) -> xychart.Panel:
    """Returns columns of a table over another of its columns, as dots."""
    series: list[Builder[xychart_models.XYSeriesConfig]] = [_dots(x, y) for y in ys]
    panel = xychart.Panel().title(title).description(description).datasource(DATASOURCE).unit(unit)
    panel = panel.height(HEIGHT + 4).span(FULL).mapping(xychart_models.SeriesMapping.MANUAL).series(series)
    panel = panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    panel = panel.override_by_name(x, [models.DynamicConfigValue(id_val="unit", value="percentunit")])
    return panel.with_target(Target(InfluxQl(query, table=True)))


def _dots(x: str, y: str) -> xychart.XYSeriesConfig:
    frame = xychart.MatcherConfig().id("byIndex").options(0)
    return (
        xychart.XYSeriesConfig()
        .name(xychart.XychartXYSeriesConfigName().fixed(y))
        .frame(xychart.XychartXYSeriesConfigFrame().matcher(frame))
        .x(xychart.XychartXYSeriesConfigX().matcher(_by_name(x)))
        .y(xychart.XychartXYSeriesConfigY().matcher(_by_name(y)))
    )


_TO_DEVICE = {
    "title": "Open this device",
    "url": "/d/moamesh-device?var-mesh=${mesh:raw}&var-device=${__value.raw}&${__url_time_range}",
}


def _by_name(name: str) -> xychart.MatcherConfig:
    return xychart.MatcherConfig().id("byName").options(name)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)
