"""`moamesh stability`: what telemetry says of load, queues and latency, beside what theory says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt


def stability(
    telemetry: Annotated[
        Path, typer.Option("--telemetry", "-t", metavar="FOLDER", help="Line-protocol files, or a folder of folders.")
    ],
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only the last 30m, 1h, 2d, ... of what was recorded.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it too: .png, .svg or .html.")] = None,
    json: opt.Json = False,
) -> None:
    """Report load, queues and latency of a mesh from its telemetry, measured beside predicted.

    Reads what devices recorded (`telemetry` in each data folder) and what `moamesh simulate --telemetry` writes.
    """
    from edge_agent.analysis import collect, report
    from edge_agent.analysis.durations import parse_duration
    from edge_agent.analysis.figures import check_target, write_figure
    from edge_agent.analysis.plots import report_panels
    from edge_agent.cli.telemetry_folders import read_all
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.cli.views.stability import stability_view

    since_s = parse_duration(since) if since is not None else None
    if plot is not None:
        check_target(plot)
    records = collect(read_all(telemetry), since_s=since_s)
    made = report(records)
    if plot is not None:
        write_figure(plot, report_panels(records, made), title=f"mesh {made.mesh}")
    if json:
        print_json(made.as_object())
    else:
        console().print(stability_view(made))
