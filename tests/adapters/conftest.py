from __future__ import annotations

from tests.support.brokers import any_broker, mosquitto
from tests.support.databases import influxdb, victoria_metrics

__all__ = ["any_broker", "influxdb", "mosquitto", "victoria_metrics"]
