"""Telemetry to local files in InfluxDB line protocol, and the way back."""

from edge_agent.adapters.telemetry.reader import read_database, read_points
from edge_agent.adapters.telemetry.server import ServerKind, TelemetryServer, TelemetryServerError, identify
from edge_agent.adapters.telemetry.sink import FileTelemetrySink
from edge_agent.wire.line_protocol import Point

__all__ = [
    "FileTelemetrySink",
    "Point",
    "ServerKind",
    "TelemetryServer",
    "TelemetryServerError",
    "identify",
    "read_database",
    "read_points",
]
