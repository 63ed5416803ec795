"""Telemetry to local files in InfluxDB line protocol, and the way back."""

from edge_agent.adapters.telemetry.line_protocol import Point
from edge_agent.adapters.telemetry.reader import read_points
from edge_agent.adapters.telemetry.sink import FileTelemetrySink

__all__ = ["FileTelemetrySink", "Point", "read_points"]
