"""Fixtures of this folder."""

from tests.support.databases import influxdb, victoria_metrics

__all__ = ["influxdb", "victoria_metrics"]
