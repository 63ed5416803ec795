"""Options of every command that reads or writes a telemetry database, taken as one value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, final

import typer

_option = partial(typer.Option, rich_help_panel="Database")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """What a user says of a database, each as on the command line; `None` is not said."""

    database: Annotated[str | None, _option(metavar="NAME", help="Database or bucket; default moamesh.")] = None
    kind: Annotated[
        str | None,
        _option(
            metavar="KIND", help="influxdb-1, influxdb-2 or victoria-metrics, where the server does not say it itself."
        ),
    ] = None
    username: Annotated[str | None, _option(metavar="NAME", help="User of InfluxDB 1.")] = None
    password_file: Annotated[Path | None, _option(metavar="FILE", help="Its password in the first line.")] = None
    token_file: Annotated[
        Path | None,
        _option(
            metavar="FILE", help="Token of InfluxDB 2 and 3 in the first line; or give it as MOAMESH_INFLUX_TOKEN."
        ),
    ] = None
    ca_file: Annotated[Path | None, _option(metavar="FILE", help="Certificates to trust for https (PEM).")] = None
