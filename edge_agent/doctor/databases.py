"""Whether a telemetry database can be used, as a finding: for the doctor and for `moamesh telemetry check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from edge_agent.adapters.telemetry import TelemetryServer, TelemetryServerError
from edge_agent.adapters.telemetry.check import CheckedServer, check_server


@final
@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """What a check found: either `checked`, or one line that says why not."""

    server: TelemetryServer
    checked: CheckedServer | None
    error: str | None


def check_database(server: TelemetryServer) -> DatabaseFinding:
    """Writes a test point to the database and reads it back; takes up to half a minute.

    Raises:
        SettingsError: influxdb-client is not installed, or a `ca_file` cannot be read.
    """
    try:
        return DatabaseFinding(server, check_server(server), None)
    except TelemetryServerError as error:
        return DatabaseFinding(server, None, str(error))
