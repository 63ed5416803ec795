"""`moamesh up`: a mesh on this host, to play with."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt

_WEB = "App and API"


def up(
    devices: opt.Devices = 4,
    model: opt.Model = None,
    engine: opt.Engine = opt.AUTO,
    service: opt.Service = "exponential:1.0",
    port: opt.Port = 0,
    layers: opt.Layers = None,
    fanout: opt.Fanout = None,
    gateway: Annotated[
        bool, typer.Option("--gateway/--no-gateway", rich_help_panel=_WEB, help="Serve the app and the API.")
    ] = True,
    gateway_port: Annotated[
        int | None,
        typer.Option(
            "--gateway-port", min=0, max=65535, rich_help_panel=_WEB, help="8080 if it is free; 0 picks a free one."
        ),
    ] = None,
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            rich_help_panel=_WEB,
            help="Also for phones in this network, unencrypted; they need an API key or pairing.",
        ),
    ] = False,
) -> None:
    """Start a broker and some devices on this host, serve the app and the API, and watch them until Ctrl-C."""
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.local.mesh import WebOptions, make_plan, run_until_stopped
    from edge_agent.cli.terminal import console
    from edge_agent.core.errors import SettingsError

    if not gateway and (lan or gateway_port is not None):
        raise SettingsError("--no-gateway serves nothing: leave it out, or leave out --lan and --gateway-port")
    out = console()
    plan = make_plan(
        out,
        devices=devices,
        engine=engine,
        models=model,
        service=service,
        port=port,
        layers=layers,
        fanout=fanout,
        web=WebOptions(gateway_port, lan) if gateway else None,
    )
    run_async(run_until_stopped(out, plan))
