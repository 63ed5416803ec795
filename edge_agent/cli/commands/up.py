"""`moamesh up`: a mesh on this host, to play with."""

from __future__ import annotations

from edge_agent.cli import options as opt


def up(
    devices: opt.Devices = 4,
    model: opt.Model = None,
    engine: opt.Engine = "llama",
    service: opt.Service = "exponential:1.0",
    port: opt.Port = 0,
    layers: opt.Layers = None,
    fanout: opt.Fanout = None,
) -> None:
    """Start a broker and some devices on this host, and watch them until Ctrl-C."""
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.local_mesh import make_plan, run_until_stopped
    from edge_agent.cli.terminal import console

    out = console()
    plan = make_plan(
        out, devices=devices, engine=engine, models=model, service=service, port=port, layers=layers, fanout=fanout
    )
    run_async(run_until_stopped(out, plan))
