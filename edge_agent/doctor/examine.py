"""The whole examination, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_agent.config import AgentConfig, load_config
from edge_agent.doctor.findings import Check
from edge_agent.doctor.home_broker import broker_checks
from edge_agent.doctor.journal import journal_checks
from edge_agent.doctor.machine import machine_checks
from edge_agent.doctor.model_process import model_process_checks
from edge_agent.doctor.telemetry import telemetry_checks


def examine(config_file: Path | None = None) -> Iterator[Check]:
    """Yields what comes of each check, as soon as it is known: of this machine, and with a device's `agent.toml` of its
    brokers, its journal and its databases, too. Takes some seconds, and must not be called where an event loop runs.

    Raises:
        SettingsError: the configuration is wrong, or names databases and influxdb-client is not installed. One line.
    """
    of_device = () if config_file is None else _device_checks(load_config(config_file), config_file)
    yield from machine_checks()
    yield from model_process_checks()
    yield from of_device


def _device_checks(config: AgentConfig, config_file: Path) -> Iterator[Check]:
    yield from broker_checks(config)
    yield from journal_checks(config)
    yield from telemetry_checks(config, config_file)
