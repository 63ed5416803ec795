from __future__ import annotations

from tests.support.brokers import any_broker, mosquitto

__all__ = ["any_broker", "mosquitto"]
