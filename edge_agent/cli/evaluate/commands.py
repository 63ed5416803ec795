"""`moamesh evaluate`: how good a response selection is, by responses whose preferences are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="JSON: examples with responses and win_probability; generators with parameters_b."
    ),
]
Policy = Annotated[
    str, typer.Option("--policy", metavar="NAME", help="scored, consensus, or a policy of a package that is installed.")
]
Fit = Annotated[bool, typer.Option("--fit", help="Fit the weights of `scored` on all of FILE instead, and print them.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="With --fit: write them as the module that `scored` reads."),
]
Seed = Annotated[int, typer.Option(help="Deals the prompts into folds.")]


def evaluate(
    file: File,
    policy: Policy = "scored",
    fit: Fit = False,
    output: Output = None,
    seed: Seed = 1,
    json: opt.Json = False,
) -> None:
    """Score a response selection on responses whose preferences are known, beside every model and other choices.

    `scored` is fitted on four fifths of the prompts and scored on the rest, in turn, then again without each model and
    each model family in the fit. Figures are win rates against the file's baseline, in percent.
    """
    from edge_agent.cli.evaluate.run import fit_file, score_file
    from edge_agent.core.errors import SettingsError

    if output is not None and not fit:
        raise SettingsError("--output goes with --fit")
    if fit:
        fit_file(file, output, json=json)
    else:
        score_file(file, policy, seed, json=json)
