"""Whether a device's measurements are kept, and whether its databases take them; answers need neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_agent.adapters.telemetry.folder import look_at_folder
from edge_agent.config import AgentConfig
from edge_agent.doctor.databases import check_database
from edge_agent.doctor.findings import Check, Finding
from edge_agent.runtime.databases import telemetry_servers


def telemetry_checks(config: AgentConfig, config_file: Path) -> Iterator[Check]:
    """Yields what is found of a device's telemetry folder and of each of its databases; `config_file` is for the mends.

    Raises:
        SettingsError: a secret cannot be read, or influxdb-client is not installed. One line.
    """
    folder = config.telemetry_folder
    if folder.exists() and (trouble := look_at_folder(folder)):
        yield Check("telemetry", Finding.NOTE, trouble, f"moamesh telemetry status --config {config_file}")
    for server in telemetry_servers(config):
        found = check_database(server)
        checked = found.checked
        if checked is None:
            mend = f"moamesh telemetry check --config {config_file}"
            yield Check("telemetry", Finding.NOTE, f"{found.error}; points wait in the spool", mend)
        else:
            detail = f"{server.url}: {checked.kind} {checked.version}".rstrip() + ", accepts a point and returns it"
            yield Check("telemetry", Finding.OK, detail)
