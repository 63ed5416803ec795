"""`moamesh telemetry check`: what a database is, and whether it accepts a point and returns it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.telemetry.options import DatabaseOptions

Url = Annotated[str | None, typer.Argument(metavar="[URL]", help="A database, such as http://127.0.0.1:8086.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Or a device's agent.toml: each of its [[influx]] databases."),
]
Org = Annotated[
    str | None, typer.Option(metavar="NAME", rich_help_panel="Database", help="Organisation of InfluxDB 2.")
]


@takes_groups
def check(
    url: Url = None,
    config: ConfigFile = None,
    org: Org = None,
    json: opt.Json = False,
    *,
    said: DatabaseOptions,
) -> None:
    """Write one test point to a database and read it back.

    Exit status 1 if that cannot be done, with a line that says why.
    """
    from edge_agent.cli.exits import NOT_ANSWERED, error_line
    from edge_agent.cli.telemetry.source import named_servers
    from edge_agent.cli.telemetry.state_view import checked_line, checked_object
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.doctor.databases import check_database

    findings = []
    out = console(stderr=json)
    for server in named_servers(url, config, said, org):
        with out.status(f"writing a point to {server.url} and reading it back"):
            finding = check_database(server)
        findings.append(finding)
        if finding.error is not None:
            error_line(finding.error)
        elif not json:
            out.print(checked_line(finding), soft_wrap=True)
    if json:
        print_json([checked_object(finding) for finding in findings])
    if any(finding.error is not None for finding in findings):
        raise typer.Exit(NOT_ANSWERED)
