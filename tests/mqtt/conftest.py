from __future__ import annotations

from tests.support.brokers import mosquitto

__all__ = ["mosquitto"]
