"""What a local fleet is to be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edge_agent.core.errors import SettingsError

DEVICES_MAX = 64  # processes on one host; each takes some 60 MB without its model
LOCAL_MESH = "local"


class EngineKind(StrEnum):
    """What infers on each device."""

    LLAMA = "llama"
    LLAMA_SERVER = "llama-server"
    SYNTHETIC = "synthetic"

    @property
    def loads_model(self) -> bool:
        """Whether it needs a model file on this host."""
        return self is not EngineKind.SYNTHETIC


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A broker and devices on this host.

    models: names or GGUF files, given to the devices round robin; ignored by the synthetic engine.
    service: declared service times of the synthetic engine.
    port: of the broker; 0 takes a free one.
    web: whether the broker has a WebSockets listener for users with secrets, where its kind can have one.
    web_port: of that listener; 0 takes a free one.
    gateway_port: of the API and the app; 0 takes a free one, None is no gateway.
    lan: whether the gateway and the web listener are reached from the network; otherwise from this host alone.
    layers, fanout: what prompts get that do not say otherwise; None leaves the agent's default.
    status_interval_s: how often devices tell their figures; short, because people are watching.
    slow_devices, slow_factor: the first so many devices take so many times the declared service time.
    agent: other settings of every device's `[agent]` section by name; these count last.
    telemetry: settings of every device's `[telemetry]` section by name.
    influx: databases that every device sends its measurements to; each the keys of one `[[influx]]` section.
    """

    devices: int = 4
    engine: EngineKind = EngineKind.LLAMA
    models: tuple[str, ...] = ()
    service: str = "exponential:1.0"
    mesh: str = LOCAL_MESH
    port: int = 0
    web: bool = True
    web_port: int = 0
    gateway_port: int | None = None
    lan: bool = False
    layers: int | None = None
    fanout: int | None = None
    status_interval_s: float = 1.0
    slow_devices: int = 0
    slow_factor: float = 1.0
    agent: Mapping[str, Any] = field(default_factory=dict)
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    influx: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.devices <= DEVICES_MAX:
            raise SettingsError(f"a local fleet has 1 to {DEVICES_MAX} devices, not {self.devices}")
        if self.engine.loads_model and not self.models:
            raise SettingsError("a fleet with llama.cpp needs a model")

    @property
    def device_ids(self) -> tuple[str, ...]:
        """`device-1`, `device-2`, ... padded so that they sort."""
        width = len(str(self.devices))
        return tuple(f"device-{number:0{width}}" for number in range(1, self.devices + 1))

    @property
    def threads(self) -> int:
        """Threads of each model: together no more than cores, because llama.cpp's threads wait by spinning."""
        return max(1, len(os.sched_getaffinity(0)) // self.devices)
