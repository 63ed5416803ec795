"""The configuration of each device of a local fleet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, TelemetrySection, write_config
from edge_agent.core.settings import AgentSettings
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.service_time import parse_service

CONFIG_FILE = "agent.toml"


def write_device_config(plan: FleetPlan, number: int, broker_url: str, folder: Path) -> Path:
    """Writes `agent.toml` of the device with this number (from 0) into `folder`; returns the file's path."""
    agent = AgentSettings(status_interval_s=plan.status_interval_s)
    if plan.layers is not None:
        agent = replace(agent, layers=plan.layers)
    if plan.fanout is not None:
        agent = replace(agent, fanout=plan.fanout)
    agent = replace(agent, **plan.agent)
    databases: dict[str, Any] = {"influx": [dict(one) for one in plan.influx]} if plan.influx else {}
    config = AgentConfig(
        device=DeviceSection(id=plan.device_ids[number], mesh=plan.mesh, data_dir=folder),
        broker=BrokerSection(urls=(broker_url,)),
        engine=_engine(plan, number),
        agent=agent,
        telemetry=TelemetrySection(**plan.telemetry),
        **databases,
    )
    path = folder / CONFIG_FILE
    write_config(config, path)
    return path


def _engine(plan: FleetPlan, number: int) -> EngineSection:
    if plan.engine is EngineKind.SYNTHETIC:
        service = parse_service(plan.service)
        if number < plan.slow_devices:
            service = replace(service, mean_s=service.mean_s * plan.slow_factor)
        return EngineSection(kind="synthetic", service=str(service))
    kind: Literal["llama", "llama-server"] = "llama" if plan.engine is EngineKind.LLAMA else "llama-server"
    return EngineSection(kind=kind, model=plan.models[number % len(plan.models)], threads=plan.threads)
