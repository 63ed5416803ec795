"""`moamesh telemetry`: databases for measurements."""

from __future__ import annotations

import typer

from edge_agent.cli.telemetry.check_command import check
from edge_agent.cli.telemetry.setup_command import setup
from edge_agent.cli.telemetry.status_command import status

app = typer.Typer(help="Check and set up databases for measurements.", no_args_is_help=True)
app.command("check")(check)
app.command("setup")(setup)
app.command("status")(status)
