"""`moamesh demo`: four devices on this host answer real prompts together."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt

DEMO_DEADLINE_S = 100.0  # the demo ends well under two minutes, also where a device dies in it


def demo(
    devices: opt.Devices = 4,
    layers: opt.Layers = 2,
    fanout: opt.Fanout = 2,
    prompts: Annotated[
        int | None, typer.Option(min=1, max=64, help="Number of prompts; by default one for each device.")
    ] = None,
    max_tokens: opt.MaxTokens = 96,
    temperature: opt.Temperature = 0.7,
    seed: opt.Seed = None,
    deadline: opt.Deadline = DEMO_DEADLINE_S,
    engine: opt.Engine = opt.AUTO,
    model: opt.Model = None,
    service: opt.Service = "exponential:1.0",
    gateway: Annotated[
        bool, typer.Option("--gateway/--no-gateway", help="Serve the app and the API while it runs.")
    ] = True,
    json: opt.Json = False,
) -> None:
    """Run a demonstration: a broker and some devices on this host answer real prompts together.

    The first time the default model is fetched. Exit status 1 if a prompt was not answered.
    """
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.local.demo_run import demo_object, run_demo, show_demo
    from edge_agent.cli.local.mesh import WebOptions, make_plan, show_web, shown_fleet
    from edge_agent.cli.results import prompt_options
    from edge_agent.cli.terminal import console, print_json

    said = console(stderr=json)
    wanted = prompt_options(
        layers=layers, fanout=fanout, deadline_s=deadline, max_tokens=max_tokens, temperature=temperature, seed=seed
    )
    web = WebOptions() if gateway else None
    plan = make_plan(said, devices=devices, engine=engine, models=model, service=service, web=web)

    async def main() -> bool:
        async with shown_fleet(said, plan) as fleet:
            show_web(said, fleet)
            run = await run_demo(said, fleet, prompts or devices, wanted)
            if json:
                print_json(demo_object(fleet, run))
            else:
                show_demo(said, run)
        return all(result.answered for result in run.results)

    if not run_async(main()):
        raise typer.Exit(NOT_ANSWERED)
