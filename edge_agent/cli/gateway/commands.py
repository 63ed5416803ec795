"""`moamesh gateway`: the mesh as a model, for any OpenAI client, and the app's page. `key`: who may use it."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.gateway import flags as flag
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions

app = typer.Typer(invoke_without_command=True)
key_app = typer.Typer(help="API keys: who may use the gateway.", no_args_is_help=True)
app.add_typer(key_app, name="key")


@app.callback()
@takes_groups
def gateway(
    context: typer.Context,
    config: flag.Config = None,
    json: Annotated[bool, typer.Option("--json", help="Print where it listens as one line of JSON.")] = False,
    *,
    said: flag.GatewayFlags,
    where: MeshOptions,
) -> None:
    """Serve the mesh as a model: http://127.0.0.1:8080/v1 for OpenAI clients, the app's page, /docs.

    Without API keys it serves this machine only. Ctrl-C lets answers under way end; twice ends it at once.
    """
    if context.invoked_subcommand is not None:
        return
    from edge_agent.cli.gateway.run import run

    run(config, where, said.given(), json=json)


@key_app.command("add")
def key_add(
    name: flag.Name, keys_file: flag.KeysFile = None, config: flag.Config = None, json: opt.Json = False
) -> None:
    """Make an API key. It is shown only once and not stored; a running gateway accepts it at once."""
    from edge_agent.cli.gateway.keys import add

    add(keys_file, config, name, json=json)


@key_app.command("list")
def key_list(keys_file: flag.KeysFile = None, config: flag.Config = None, json: opt.Json = False) -> None:
    """Show the keys: whose, since when, and their last characters."""
    from edge_agent.cli.gateway.keys import show

    show(keys_file, config, json=json)


@key_app.command("remove")
def key_remove(name: flag.Name, keys_file: flag.KeysFile = None, config: flag.Config = None) -> None:
    """Remove an API key; a running gateway refuses it from the next request on."""
    from edge_agent.cli.gateway.keys import remove

    remove(keys_file, config, name)
