"""Where a report's telemetry comes from: files of the devices, or a database that they send it to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from edge_agent.adapters.telemetry import ServerKind, TelemetryServer, read_database
from edge_agent.cli.telemetry.folders import read_all
from edge_agent.cli.telemetry.options import DatabaseOptions
from edge_agent.config import load_config
from edge_agent.config.secret_file import read_secret
from edge_agent.core.errors import SettingsError
from edge_agent.runtime.databases import telemetry_servers
from edge_agent.wire.line_protocol import Point

TOKEN_VARIABLE = "MOAMESH_INFLUX_TOKEN"  # noqa: S105 -- its name, not a token
AUTO = "auto"


def open_points(
    folder: Path | None, url: str | None, options: DatabaseOptions, *, mesh: str | None, since_s: float | None
) -> Iterator[Point]:
    """Yields the points of a folder or a database: of `mesh`, of the last `since_s` seconds or more.

    Raises:
        SettingsError: neither or both are named, something said does not go together, or nothing is there. One line.
        TelemetryServerError: the database cannot be reached or refuses. One line.
    """
    if (folder is None) == (url is None):
        raise SettingsError("say where the telemetry is: --telemetry FOLDER for files, or --influx URL for a database")
    if url is not None:
        return read_database(database_server(url, options), mesh, since_s)
    for field in fields(options):
        if getattr(options, field.name) is not None:
            raise SettingsError(f"--{field.name.replace('_', '-')} goes with --influx, not with --telemetry")
    assert folder is not None
    points = read_all(folder)
    return points if mesh is None else (point for point in points if point.tags.get("mesh") == mesh)


def named_servers(
    url: str | None, config: Path | None, said: DatabaseOptions, org: str | None
) -> list[TelemetryServer]:
    """Returns the database that a user names, or those of a device's configuration.

    Raises:
        SettingsError: neither or both are named, options do not go together, or the file names no database. One line.
    """
    if (url is None) == (config is None):
        raise SettingsError("name a database by URL, or the databases of a device by --config agent.toml")
    if url is not None:
        return [replace(database_server(url, said), org=org or "")]
    if org is not None or any(getattr(said, field.name) is not None for field in fields(said)):
        raise SettingsError("with --config, all settings of a database come from the file")
    servers = telemetry_servers(load_config(config))
    if not servers:
        raise SettingsError(f"{config} names no database: add an [[influx]] table with its url")
    return servers


def database_server(url: str, options: DatabaseOptions) -> TelemetryServer:
    """Returns the database that a user means, with the secrets read.

    Raises:
        SettingsError: something said does not go together, or a file cannot be read. One line.
    """
    if options.password_file is not None and options.username is None:
        raise SettingsError("--password-file needs --username")
    token = os.environ.get(TOKEN_VARIABLE)
    if options.token_file is not None:
        token = read_secret(options.token_file, "--token-file")
    server = TelemetryServer(
        url,
        kind=_kind(options.kind or AUTO),
        username=options.username,
        password=None if options.password_file is None else read_secret(options.password_file, "--password-file"),
        token=token or None,
        ca_file=None if options.ca_file is None else str(options.ca_file),
    )
    return server if options.database is None else replace(server, database=options.database)


def _kind(name: str) -> ServerKind | None:
    if name == AUTO:
        return None
    try:
        return ServerKind(name)
    except ValueError:
        raise SettingsError(f"--kind is {', '.join([AUTO, *ServerKind])}, not {name!r}") from None
