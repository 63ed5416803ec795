"""One `agent.toml`, the environment over it, explicit values over both."""

from edge_agent.config.broker import BrokerSection
from edge_agent.config.influx import InfluxSection
from edge_agent.config.load import load_config
from edge_agent.config.model import AgentConfig
from edge_agent.config.sections import (
    DeviceSection,
    EngineSection,
    SeedSection,
    TelemetrySection,
)
from edge_agent.config.write import write_config

__all__ = [
    "AgentConfig",
    "BrokerSection",
    "DeviceSection",
    "EngineSection",
    "InfluxSection",
    "SeedSection",
    "TelemetrySection",
    "load_config",
    "write_config",
]
