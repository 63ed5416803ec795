"""`moamesh models`: the language models on this device."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt

app = typer.Typer(help="List, fetch and find language models.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="A name from `models list`, hf:OWNER/REPO/FILE, https://...#sha256=..., file:PATH.")
]


@app.command("list")
def list_models(json: opt.Json = False) -> None:
    """Show the models on this device and those that can be pulled by name."""
    from edge_agent.cli.exits import USER_ERROR, error_line
    from edge_agent.cli.models.table import models_object, models_table
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.models import damaged_models

    if json:
        print_json(models_object())
    else:
        console().print(models_table())
    damaged = damaged_models()
    for line in damaged:
        error_line(line)
    if damaged:
        raise typer.Exit(USER_ERROR)


@app.command()
def pull(source: Name, json: opt.Json = False) -> None:
    """Fetch a model, verify it, and make it fast for this CPU.

    It has to be a whole text model in one file; anything else is reported and not kept.
    """
    from edge_agent.cli.models.files import pull_shown
    from edge_agent.cli.models.table import model_object
    from edge_agent.cli.terminal import console, print_json, styled

    model = pull_shown(console(stderr=True), source)
    if json:
        print_json(model_object(model))
    else:
        out = console()
        out.print(styled((model.name, "name"), f" is at {model.path}"), soft_wrap=True)
        out.print(f"uses {model.chosen.file_type}: {model.reason}", style="quiet", soft_wrap=True)


@app.command()
def path(name: Name, json: opt.Json = False) -> None:
    """Print the file that is loaded for a model."""
    from edge_agent.cli.terminal import print_json
    from edge_agent.models import resolve

    found = str(resolve(name))
    if json:
        print_json({"name": name, "path": found})
    else:
        typer.echo(found)
