"""`moamesh gateway`: the mesh as a model, for any OpenAI client, and the app's page. `key`: who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt

_PANEL = "Gateway"

app = typer.Typer(help="Serve the OpenAI-style API and the app.", invoke_without_command=True)
key_app = typer.Typer(help="API keys: who may use the gateway.", no_args_is_help=True)
app.add_typer(key_app, name="key")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The device's agent.toml; its section [gateway] counts."),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys-file",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="API keys; by default api-keys.json in the device's data folder, or in this user's.",
    ),
]
Name = Annotated[str, typer.Argument(help="Whose key it is: 1 to 64 letters, digits, '.', '_' and '-'.")]


@app.callback()
def gateway(
    context: typer.Context,
    config: Config = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-D",
            metavar="ID",
            help="Ask this device only; by default the one with the smallest expected wait.",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", rich_help_panel=_PANEL, help="Where it listens; 127.0.0.1 is this machine alone."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, rich_help_panel=_PANEL, help="8080 by default; 0 takes a free one."),
    ] = None,
    keys_file: KeysFile = None,
    open_: Annotated[
        bool,
        typer.Option(
            "--open", rich_help_panel=_PANEL, help="While there are no keys, let in everybody who can connect."
        ),
    ] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", rich_help_panel=_PANEL, help="HTTPS: certificate (PEM)."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", rich_help_panel=_PANEL, help="HTTPS: its private key (PEM)."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            rich_help_panel=_PANEL,
            help="A web page elsewhere that may call the API, such as https://example.org; repeatable.",
        ),
    ] = None,
    web_broker: Annotated[
        str | None,
        typer.Option(
            "--web-broker",
            metavar="URL",
            rich_help_panel=_PANEL,
            help="Where the app reaches the broker: ws://host:port or wss://host:port.",
        ),
    ] = None,
    app_dir: Annotated[
        Path | None,
        typer.Option("--app-dir", metavar="DIR", rich_help_panel=_PANEL, help="The app's files, in place of ours."),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            "--max-requests", min=1, max=10_000, rich_help_panel=_PANEL, help="Prompts open at once; more get 429."
        ),
    ] = None,
    stop_timeout: Annotated[
        float | None,
        typer.Option(
            "--stop-timeout",
            metavar="SECONDS",
            min=0.0,
            max=3600.0,
            rich_help_panel=_PANEL,
            help="How long answers under way may take when it is told to stop.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say where it listens as one line of JSON on stdout.")] = False,
    broker: opt.Broker = None,
    mesh: opt.Mesh = None,
    ca_file: opt.CaFile = None,
    cert_file: opt.CertFile = None,
    key_file: opt.KeyFile = None,
    username: opt.Username = None,
    password_file: opt.PasswordFile = None,
    broker_of: opt.BrokerOf = None,
) -> None:
    """Serve the mesh as a model: http://127.0.0.1:8080/v1 for OpenAI clients, the app's page, /docs.

    Without API keys it serves this machine only. Ctrl-C lets answers under way end; twice ends it at once.
    """
    if context.invoked_subcommand is not None:
        return
    from edge_agent.cli.gateway_run import run
    from edge_agent.cli.mesh_address import make_access

    access = make_access(ca_file, cert_file, key_file, username, password_file, broker_of)
    given = {
        "device_id": device,
        "host": host,
        "port": port,
        "keys_file": keys_file,
        "open": open_ or None,
        "cert_file": tls_cert,
        "key_file": tls_key,
        "cors_origins": tuple(cors_origin) if cors_origin else None,
        "web_broker": web_broker,
        "app_dir": app_dir,
        "requests_max": max_requests,
        "stop_timeout_s": stop_timeout,
    }
    run(config, broker, mesh, access, given, json=json)


@key_app.command("add")
def key_add(name: Name, keys_file: KeysFile = None, config: Config = None, json: opt.Json = False) -> None:
    """Make an API key. It is shown once and kept nowhere; a running gateway knows it at once."""
    from edge_agent.cli.gateway_keys import add

    add(keys_file, config, name, json=json)


@key_app.command("list")
def key_list(keys_file: KeysFile = None, config: Config = None, json: opt.Json = False) -> None:
    """Show whose keys there are, since when, and how each ends."""
    from edge_agent.cli.gateway_keys import show

    show(keys_file, config, json=json)


@key_app.command("remove")
def key_remove(name: Name, keys_file: KeysFile = None, config: Config = None) -> None:
    """Remove an API key; a running gateway refuses it from the next request on."""
    from edge_agent.cli.gateway_keys import remove

    remove(keys_file, config, name)
