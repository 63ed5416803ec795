"""`moamesh answers`: what became of prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions


@takes_groups
def answers(
    prompt_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Show this prompt with its whole answer; by default the last prompts are listed."
        ),
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what ended in the last 30m, 1h, ... and what still runs.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", metavar="ID", help="The device to ask; by default every one online.")
    ] = None,
    client: Annotated[
        str, typer.Option("--client", metavar="NAME", help="Only prompts of this client of yours, such as 0.")
    ] = "",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=1_000, help="List at most this many.")] = 20,
    json: opt.Json = False,
    *,
    where: MeshOptions,
) -> None:
    """Fetch answers that were missed: of one prompt by its id, or a list of the last ones.

    Devices keep ends for an hour, by default. You see only your own. Where a broker lets everybody in, the list holds
    what `moamesh ask` asked from this account on this machine; any prompt is fetched by its id.

    Exit status with an ID: 0 answered; 1 it still runs, failed or is gone; 3 refused; 5 expired; 6 no reply from a
    device; 2 a wrong option, or no broker.
    """
    from edge_agent.cli.answers.fetching import Wanted, show_answers
    from edge_agent.cli.durations import parse_duration
    from edge_agent.cli.exits import run_async

    since_s = parse_duration(since) if since is not None else None
    wanted = Wanted(prompt_id, device, client, since_s, count, json)
    raise typer.Exit(run_async(show_answers(where.find(), wanted)))
