"""`moamesh doctor`: what is missing here, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="A device's agent.toml: check its broker and its databases, too."
    ),
]


def doctor(config: ConfigFile = None, json: opt.Json = False) -> None:
    """Check this machine. Each line says what was found, or the command that fixes it.

    Exit status 1 if something needed is missing.
    """
    from edge_agent.cli.doctor.view import checks_object, print_checks
    from edge_agent.cli.exits import NOT_ANSWERED
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.doctor.examine import examine

    out = console(stderr=json)
    with out.status("looking around"):
        checks = list(examine(config))
    if json:
        print_json(checks_object(checks))
    else:
        print_checks(out, checks)
    if any(check.missing for check in checks):
        raise typer.Exit(NOT_ANSWERED)
