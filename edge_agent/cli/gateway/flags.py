"""The options of `moamesh gateway`, beside those that it shares with other commands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, final

import typer

_option = partial(typer.Option, rich_help_panel="Gateway")

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The device's agent.toml; its gateway section is used."),
]
KeysFile = Annotated[
    Path | None,
    _option(
        "--keys-file",
        metavar="FILE",
        help="API keys; by default api-keys.json in the device's data folder, or in this user's.",
    ),
]
Name = Annotated[str, typer.Argument(help="Whose key it is: 1 to 64 letters, digits, '.', '_' and '-'.")]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFlags:
    """What a command line says of a gateway; `None` is what it leaves open."""

    device_id: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            metavar="ID",
            help="Ask this device only; by default the one with the smallest expected wait.",
        ),
    ] = None
    host: Annotated[str | None, _option(help="Where it listens; 127.0.0.1 is this machine alone.")] = None
    port: Annotated[int | None, _option(min=0, max=65535, help="8080 by default; 0 takes a free one.")] = None
    keys_file: KeysFile = None
    open: Annotated[bool, _option("--open", help="While there are no keys, serve everybody who can connect.")] = False
    tls_cert: Annotated[Path | None, _option(metavar="FILE", help="HTTPS: certificate (PEM).")] = None
    tls_key: Annotated[Path | None, _option(metavar="FILE", help="HTTPS: its private key (PEM).")] = None
    cors_origins: Annotated[
        list[str] | None,
        _option(
            "--cors-origin",
            metavar="ORIGIN",
            help="A web page elsewhere that may call the API, such as https://example.org; repeatable.",
        ),
    ] = None
    web_broker: Annotated[
        str | None, _option(metavar="URL", help="Where the app reaches the broker: ws://host:port or wss://host:port.")
    ] = None
    app_dir: Annotated[Path | None, _option(metavar="DIR", help="The app's files, instead of the built-in ones.")] = (
        None
    )
    requests_max: Annotated[
        int | None, _option("--max-requests", min=1, max=10_000, help="Prompts at a time; more are answered 429.")
    ] = None
    caller_share: Annotated[
        float | None,
        _option(
            "--key-share",
            metavar="SHARE",
            min=0.001,
            max=1.0,
            help="Fraction of these that one API key may use, and that is kept free for others; 0.25 by default.",
        ),
    ] = None
    stop_timeout_s: Annotated[
        float | None,
        _option(
            "--stop-timeout",
            metavar="SECONDS",
            min=0.0,
            max=3600.0,
            help="How long answers under way may still take when it is stopped.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """Returns what was said, by the names of `GatewayOptions`."""
        said = asdict(self) | {"open": self.open or None, "cors_origins": tuple(self.cors_origins or ()) or None}
        said |= {"cert_file": said.pop("tls_cert"), "key_file": said.pop("tls_key")}
        return {name: value for name, value in said.items() if value is not None}
