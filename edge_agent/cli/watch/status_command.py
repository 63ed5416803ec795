"""`moamesh status`: the devices of a mesh, live."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions


@takes_groups
def status(
    once: Annotated[bool, typer.Option("--once", help="Show the devices once and end.")] = False,
    json: opt.Json = False,
    *,
    where: MeshOptions,
) -> None:
    """Watch the devices of a mesh: queues, load, totals.

    With --json one object a second, with --once just one. Exit status 1 if --once finds nobody online.
    """
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.watch.watching import show_once, show_until_stopped

    address = where.find()
    if not once:
        run_async(show_until_stopped(address, json=json))
    elif not run_async(show_once(address, json=json)):
        raise typer.Exit(NOT_ANSWERED)
