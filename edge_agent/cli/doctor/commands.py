"""`moamesh doctor`: what is missing here, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="A device's agent.toml: try its broker and its databases too."),
]


def doctor(config: ConfigFile = None, json: opt.Json = False) -> None:
    """Check this machine. Each line says what is there, or the command that mends it.

    Exit status 1 if something needed is missing.
    """
    from edge_agent.cli.doctor.broker_reach import broker_checks
    from edge_agent.cli.doctor.checks import all_checks
    from edge_agent.cli.doctor.journal_checks import journal_checks
    from edge_agent.cli.doctor.model_process_checks import check_model_process
    from edge_agent.cli.doctor.view import checks_object, print_checks
    from edge_agent.cli.exits import NOT_ANSWERED
    from edge_agent.cli.telemetry.checks import doctor_checks
    from edge_agent.cli.terminal import console, print_json

    out = console(stderr=json)
    with out.status("looking around"):
        checks = all_checks() + check_model_process()
        if config is not None:
            checks += broker_checks(config) + journal_checks(config) + doctor_checks(config)
    if json:
        print_json(checks_object(checks))
    else:
        print_checks(out, checks)
    if any(check.missing for check in checks):
        raise typer.Exit(NOT_ANSWERED)
