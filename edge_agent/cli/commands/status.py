"""`moamesh status`: the devices of a mesh, live."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt


def status(
    once: Annotated[bool, typer.Option("--once", help="Show the devices once and end.")] = False,
    json: opt.Json = False,
    broker: opt.Broker = None,
    mesh: opt.Mesh = None,
    ca_file: opt.CaFile = None,
    cert_file: opt.CertFile = None,
    key_file: opt.KeyFile = None,
    username: opt.Username = None,
    password_file: opt.PasswordFile = None,
    broker_of: opt.BrokerOf = None,
) -> None:
    """Watch the devices of a mesh: queues, load, totals.

    With --json one object a second, with --once just one. Exit status 1 if --once finds nobody online.
    """
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.mesh_address import find_mesh, make_access
    from edge_agent.cli.watching import show_once, show_until_stopped

    access = make_access(ca_file, cert_file, key_file, username, password_file, broker_of)
    address = find_mesh(broker, mesh, access)
    if not once:
        run_async(show_until_stopped(address, json=json))
    elif not run_async(show_once(address, json=json)):
        raise typer.Exit(NOT_ANSWERED)
