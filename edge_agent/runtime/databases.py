"""From the `[[influx]]` tables of a configuration to telemetry servers, with their secrets read."""

from __future__ import annotations

import os

from edge_agent.adapters.telemetry import ServerKind, TelemetryServer
from edge_agent.config import AgentConfig, InfluxSection
from edge_agent.core.errors import SettingsError

TOKEN_VARIABLE = "MOAMESH_INFLUX_TOKEN"  # noqa: S105 - its name, not a token


def telemetry_servers(config: AgentConfig, *, with_secrets: bool = True) -> list[TelemetryServer]:
    """Returns the databases that a device's measurements are sent to; without secrets, to look at and not to ask.

    Raises:
        SettingsError: a secret's file cannot be read, or a database is named twice.
    """
    servers = [_server(section, with_secrets) for section in config.influx]
    known = {(server.url, server.database, server.org) for server in servers}
    if len(known) < len(servers):
        raise SettingsError("[[influx]]: the same url and database are there twice; remove one table")
    return servers


def _server(section: InfluxSection, with_secrets: bool) -> TelemetryServer:
    token, password = (section.read_token(), section.read_password()) if with_secrets else (None, None)
    secret = token.get_secret_value() if token else None
    if secret is None and section.username is None and with_secrets:
        secret = os.environ.get(TOKEN_VARIABLE) or None
    return TelemetryServer(
        section.url,
        database=section.database,
        kind=None if section.kind == "auto" else ServerKind(section.kind),
        org=section.org,
        username=section.username,
        password=password.get_secret_value() if password else None,
        token=secret,
        ca_file=str(section.ca_file) if section.ca_file else None,
    )
