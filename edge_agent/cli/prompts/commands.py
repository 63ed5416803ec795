"""`moamesh run-prompts`: a file of prompts over a mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions

PROMPT_DEADLINE_S = 600.0  # a batch is patient: prompts wait for each other


@takes_groups
def run_prompts(
    file: Annotated[Path, typer.Argument(help="JSON list of {instruction, dataset}, as AlpacaEval has it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Answers, in AlpacaEval's form.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N prompts.")] = None,
    layers: opt.Layers = 2,
    fanout: opt.Fanout = 2,
    deadline: opt.Deadline = PROMPT_DEADLINE_S,
    max_tokens: opt.MaxTokens = 256,
    temperature: opt.Temperature = 0.7,
    seed: opt.Seed = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Prompts under way at a time; by default one for each device.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Instead of --concurrency: a Poisson stream of this many prompts a second in total."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the answers of an earlier run.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    devices: opt.Devices = 4,
    engine: opt.Engine = opt.AUTO,
    model: opt.Model = None,
    service: opt.Service = "exponential:1.0",
    json: opt.Json = False,
    *,
    where: MeshOptions,
) -> None:
    """Answer a file of prompts, on local devices unless --broker names a mesh.

    Beside OUTPUT, OUTPUT.provenance.jsonl has what made each answer. Exit status 1 if a prompt was not answered.
    """
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.local.mesh import make_plan
    from edge_agent.cli.prompts.batch import Pace
    from edge_agent.cli.prompts.command import run_and_report
    from edge_agent.cli.prompts.file import read_prompts
    from edge_agent.cli.prompts.run import PromptsRun
    from edge_agent.cli.results import prompt_options
    from edge_agent.cli.terminal import console
    from edge_agent.core.errors import SettingsError

    if rate is not None and (rate <= 0 or concurrency is not None):
        raise SettingsError("--rate must be above 0, and excludes --concurrency")
    pace = Pace(rate_hz=rate, seed=seed or 0) if rate is not None else Pace(concurrency) if concurrency else None
    wanted = prompt_options(
        layers=layers, fanout=fanout, deadline_s=deadline, max_tokens=max_tokens, temperature=temperature, seed=seed
    )
    run = PromptsRun(read_prompts(file, limit), wanted, pace, output, resume)
    said = console(stderr=True)
    plan = None
    if where.broker is None:
        plan = make_plan(said, devices=devices, engine=engine, models=model, service=service)
    address = where.find() if where.broker is not None else None
    if not run_async(run_and_report(said, run, plan, address, report=report, json=json)):
        raise typer.Exit(NOT_ANSWERED)
