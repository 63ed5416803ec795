"""`moamesh experiment`: the paper's figures again, the policies live, and the plots of docs/THEORY.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt

app = typer.Typer(help="Reproduce the paper and check the theory; each command writes a report.", no_args_is_help=True)

Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Processes that simulate at a time.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small version that takes seconds, to see that it works.")]


@app.command()
def paper(
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", "-p", metavar="a|b|c|d", help="a: Table I, b: stable regime, c: live load, d: live LLM."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the report.")] = Path(
        "paper-report"
    ),
    quick: Quick = False,
    jobs: Jobs = 1,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="d: JSON list of {instruction, dataset}, as AlpacaEval has it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="d: prompts in each row.")] = 4,
    max_tokens: opt.MaxTokens = 64,
    model: opt.Model = None,
) -> None:
    """Reproduce the paper (arXiv 2412.21200): by default all four parts, with --quick the simulated ones.

    Part d needs --prompts. Writes report.md, report.html and the plots into FOLDER; parts that the folder has from
    earlier runs stay in it.
    """
    from edge_agent.cli.experiment.run import LiveLlm, run_paper

    wanted = LiveLlm(prompts, limit, max_tokens, tuple(model or ()))
    run_paper(part or (["a", "b"] if quick else ["a", "b", "c", "d"]), output, wanted, quick=quick, jobs=jobs)


@app.command()
def policies(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the report.")] = Path(
        "policies-report"
    ),
    quick: Quick = False,
) -> None:
    """Run every policy on a live mesh of two speeds, beside the simulator's figures; four minutes."""
    from edge_agent.cli.experiment.run import run_policies

    run_policies(output, quick=quick)


@app.command()
def theory(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the plots (SVG).")],
    quick: Quick = False,
    jobs: Jobs = 1,
) -> None:
    """Simulate every formula of docs/THEORY.md for ρ from 0.1 to 1.2 and draw it beside its prediction."""
    from edge_agent.cli.experiment.run import run_theory

    run_theory(output, quick=quick, jobs=jobs)
