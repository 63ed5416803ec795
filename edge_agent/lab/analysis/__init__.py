"""The stability report out of telemetry: what was measured, beside what theory says."""

from edge_agent.lab.analysis.report import DeviceReport, MeshReport, Quantiles, report
from edge_agent.lab.analysis.series import MeshRecords, collect

__all__ = ["DeviceReport", "MeshRecords", "MeshReport", "Quantiles", "collect", "report"]
