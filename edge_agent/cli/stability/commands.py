"""`moamesh stability`: what telemetry says of load, queues and latency, beside what theory says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.telemetry.options import DatabaseOptions

Telemetry = Annotated[
    Path | None,
    typer.Option("--telemetry", metavar="FOLDER", help="Line-protocol files, or a folder of folders."),
]
Influx = Annotated[
    str | None,
    typer.Option(metavar="URL", help="InfluxDB 1.6 to 3 or VictoriaMetrics, such as http://127.0.0.1:8086."),
]
Mesh = Annotated[str | None, typer.Option(metavar="NAME", help="Which mesh, where there are several.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only the last 30m, 1h, 2d, ... of what was recorded.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Also plot it: .png, .svg or .html.")]


@takes_groups
def stability(
    telemetry: Telemetry = None,
    influx: Influx = None,
    mesh: Mesh = None,
    since: Since = None,
    plot: Plot = None,
    json: opt.Json = False,
    *,
    said: DatabaseOptions,
) -> None:
    """Report load, queues and latency of a mesh from its telemetry, measured beside predicted.

    Reads what devices recorded (`telemetry` in each data folder), what `moamesh simulate --telemetry` writes, or a
    database that devices send to (`[[influx]]` in agent.toml): the same numbers from each.
    """
    from edge_agent.cli.durations import parse_duration
    from edge_agent.cli.stability.times import TimeFilter
    from edge_agent.cli.stability.view import stability_view
    from edge_agent.cli.telemetry.source import open_points
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.lab.analysis import collect, report
    from edge_agent.lab.analysis.figures import check_target, write_figure
    from edge_agent.lab.analysis.plots import report_panels

    since_s = parse_duration(since) if since is not None else None
    if plot is not None:
        check_target(plot)
    times = TimeFilter()
    notes = console(stderr=True)
    with notes.status("reading telemetry"):  # shown on a terminal only
        points = open_points(telemetry, influx, said, mesh=mesh, since_s=since_s)
        records = collect(times.passed(points), since_s=since_s)
        made = report(records)
    for note in times.notes():
        notes.print(note, markup=False, soft_wrap=True)
    if plot is not None:
        engine = ", synthetic engine" if made.synthetic else ""
        write_figure(plot, report_panels(records, made), title=f"mesh {made.mesh}{engine}")
    if json:
        print_json(made.as_object())
    else:
        console().print(stability_view(made))
