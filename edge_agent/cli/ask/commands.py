"""`moamesh ask`: one prompt, answered by the mesh."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions


@takes_groups
def ask(
    prompt: Annotated[str | None, typer.Argument(help='What to ask; "-" or nothing reads standard input.')] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", metavar="ID", help="The device to ask; by default the least busy.")
    ] = None,
    system: Annotated[
        str,
        typer.Option(
            "--system",
            "-s",
            metavar="TEXT",
            help="System message: what the models are told before the prompt, such as a role.",
        ),
    ] = "",
    layers: opt.Layers = None,
    fanout: opt.Fanout = None,
    deadline: opt.Deadline = None,
    join: opt.Join = None,
    max_tokens: opt.MaxTokens = 256,
    temperature: opt.Temperature = 0.7,
    seed: opt.Seed = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the text as it is generated.")] = True,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print Markdown unformatted, also on a terminal; piped output always is.")
    ] = False,
    json: opt.Json = False,
    *,
    where: MeshOptions,
) -> None:
    """Ask the mesh. The answer goes to stdout as Markdown, what made it to stderr.

    `git diff | moamesh ask --system "You review code."` asks what comes on standard input.

    Exit status: 0 answered; 3 refused for good (too large, not valid); 4 refused for now (overloaded: it says when to
    try again); 5 expired; 6 no reply from the device; 1 not answered for another reason; 2 a wrong option or no broker.
    """
    from edge_agent.cli.ask.asking import Question, ask_one, read_prompt
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.results import prompt_options

    text = read_prompt(prompt)
    wanted = prompt_options(
        layers=layers,
        fanout=fanout,
        deadline_s=deadline,
        join=join,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    question = Question(text, wanted, device, system, stream=stream, raw=raw, json=json)
    raise typer.Exit(run_async(ask_one(where.find(), question, where.again())))
