"""`moamesh telemetry`: databases for measurements."""

from __future__ import annotations

import typer

from edge_agent.cli.commands.telemetry_check import check
from edge_agent.cli.commands.telemetry_setup import setup
from edge_agent.cli.commands.telemetry_status import status

app = typer.Typer(help="Databases for measurements.", no_args_is_help=True)
app.command("check")(check)
app.command("setup")(setup)
app.command("status")(status)
