"""`moamesh telemetry`: databases for measurements."""

from __future__ import annotations

import typer

from edge_agent.cli.commands.telemetry_setup import setup

app = typer.Typer(help="Databases for measurements.", no_args_is_help=True)
app.command("setup")(setup)
