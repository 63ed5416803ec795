"""`moamesh telemetry setup`: how long a database keeps telemetry, and the five-minute figures it keeps for longer."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.telemetry.options import DatabaseOptions

_KEPT = "How long"
Url = Annotated[str, typer.Argument(metavar="URL", help="InfluxDB 1 or 2, such as http://127.0.0.1:8086.")]
Org = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel="Database", help="InfluxDB 2's organisation, where there are several."
    ),
]
KeepRaw = Annotated[
    int | None,
    typer.Option(metavar="DAYS", min=0, rich_help_panel=_KEPT, help="Days to keep single points (14); 0: for ever."),
]
KeepMeans = Annotated[
    int | None,
    typer.Option(metavar="DAYS", min=0, rich_help_panel=_KEPT, help="Days to keep the figures (730); 0: for ever."),
]
DeleteOlder = Annotated[
    bool,
    typer.Option("--delete-older", rich_help_panel=_KEPT, help="Allow older points in the database to be deleted."),
]
Backfill = Annotated[bool, typer.Option("--backfill", help="Compute the figures of all existing points, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be sent to an empty server.")]


@takes_groups
def setup(
    url: Url,
    org: Org = None,
    keep_raw: KeepRaw = None,
    keep_means: KeepMeans = None,
    delete_older: DeleteOlder = False,
    backfill: Backfill = False,
    dry_run: DryRun = False,
    json: opt.Json = False,
    *,
    said: DatabaseOptions,
) -> None:
    """Set up an InfluxDB: how long it keeps points, and five-minute figures for years.

    It may be repeated at any time: what is right stays, what differs is changed.
    """
    from dataclasses import replace

    from edge_agent.adapters.telemetry.downsampling import MEANS_DAYS, RAW_DAYS
    from edge_agent.adapters.telemetry.setup import set_up
    from edge_agent.adapters.telemetry.setup_plan import SetupPlan
    from edge_agent.cli.telemetry.setup_view import setup_json, setup_view, statements
    from edge_agent.cli.telemetry.source import database_server
    from edge_agent.cli.terminal import console, print_json

    raw_days = RAW_DAYS if keep_raw is None else keep_raw
    means_days = MEANS_DAYS if keep_means is None else keep_means
    plan = SetupPlan(raw_days, means_days, backfill=backfill, delete_older=delete_older)
    server = replace(database_server(url, said), org=org or "")
    identity, steps = set_up(server, plan, dry_run=dry_run)
    if json:
        print_json(setup_json(server, identity, steps))
    elif dry_run:
        print(statements(steps))
    else:
        console().print(setup_view(server, identity, steps))
