"""The options of `moamesh gateway`, beside those that it shares with other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Gateway"

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The device's agent.toml; its gateway section counts."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", "-d", metavar="ID", help="Ask this device only; by default the one with the smallest expected wait."
    ),
]
Host = Annotated[
    str | None,
    typer.Option("--host", rich_help_panel=_PANEL, help="Where it listens; 127.0.0.1 is this machine alone."),
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, rich_help_panel=_PANEL, help="8080 by default; 0 takes a free one."),
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
Open = Annotated[
    bool,
    typer.Option("--open", rich_help_panel=_PANEL, help="While there are no keys, let in everybody who can connect."),
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", rich_help_panel=_PANEL, help="HTTPS: certificate (PEM).")
]
TlsKey = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", rich_help_panel=_PANEL, help="HTTPS: its private key (PEM).")
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="ORIGIN",
        rich_help_panel=_PANEL,
        help="A web page elsewhere that may call the API, such as https://example.org; repeatable.",
    ),
]
WebBroker = Annotated[
    str | None,
    typer.Option(
        "--web-broker",
        metavar="URL",
        rich_help_panel=_PANEL,
        help="Where the app reaches the broker: ws://host:port or wss://host:port.",
    ),
]
AppDir = Annotated[
    Path | None,
    typer.Option("--app-dir", metavar="DIR", rich_help_panel=_PANEL, help="The app's files, in place of ours."),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(
        "--max-requests", min=1, max=10_000, rich_help_panel=_PANEL, help="Prompts open at once; more get 429."
    ),
]
KeyShare = Annotated[
    float | None,
    typer.Option(
        "--key-share",
        metavar="SHARE",
        min=0.001,
        max=1.0,
        rich_help_panel=_PANEL,
        help="Of these: what each API key may have at any time, and what is kept for others. 0.25 by default.",
    ),
]
StopTimeout = Annotated[
    float | None,
    typer.Option(
        "--stop-timeout",
        metavar="SECONDS",
        min=0.0,
        max=3600.0,
        rich_help_panel=_PANEL,
        help="How long answers under way may take when it is told to stop.",
    ),
]
Name = Annotated[str, typer.Argument(help="Whose key it is: 1 to 64 letters, digits, '.', '_' and '-'.")]
