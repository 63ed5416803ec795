"""Checks databases one after the other, as `moamesh telemetry check` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import final

from rich.console import Console

from edge_agent.adapters.telemetry import TelemetryServer, TelemetryServerError
from edge_agent.adapters.telemetry.check import CheckedServer, check_server
from edge_agent.cli.telemetry.options import DatabaseOptions
from edge_agent.cli.telemetry.source import database_server
from edge_agent.config import load_config
from edge_agent.core.errors import SettingsError
from edge_agent.runtime.databases import telemetry_servers


@final
@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """What came of a check: the one or the other."""

    server: TelemetryServer
    checked: CheckedServer | None
    error: str | None


def check_all(servers: Sequence[TelemetryServer], console: Console) -> Iterator[DatabaseFinding]:
    """Yields a finding for each database as soon as it is there; says on the console which one it waits for.

    Raises:
        SettingsError: influxdb-client is not installed, or a `ca_file` cannot be read.
    """
    for server in servers:
        with console.status(f"writing a point to {server.url} and reading it back"):
            try:
                finding = DatabaseFinding(server, check_server(server), None)
            except TelemetryServerError as error:
                finding = DatabaseFinding(server, None, str(error))
        yield finding


def named_servers(
    url: str | None, config: Path | None, said: DatabaseOptions, org: str | None
) -> list[TelemetryServer]:
    """Returns the database that a user names, or those of a device's configuration.

    Raises:
        SettingsError: neither or both are named, what is said does not go together, or no database is there. One line.
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
