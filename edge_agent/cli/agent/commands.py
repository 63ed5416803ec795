"""`moamesh agent`: this device, as a service."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt


def agent(
    config: opt.ConfigFile,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A setting over the file; repeatable."),
    ] = None,
) -> None:
    """Run a device until it is stopped.

    Settings come from the file, over it MOAMESH_SECTION__KEY from the environment, over both --set.
    """
    from edge_agent.cli.agent.overrides import parse_overrides
    from edge_agent.management.run import run_device

    run_device(config, parse_overrides(settings or []))
