"""The mesh as models: `moa`, `moa-m2-k3`, `local`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from edge_agent.core.messages import FANOUT_MAX, LAYERS_MAX

LISTED = ("moa", "moa-m1-k1", "moa-m1-k3", "moa-m2-k1", "moa-m2-k2", "moa-m2-k3", "moa-m3-k3", "local")
"""What `/v1/models` shows: every M and k within the bounds works, but a menu of 153 names helps nobody."""

_PLAN = re.compile(r"moa-m(0|[1-9][0-9]?)-k(0|[1-9][0-9]?)")


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Layers (M) and fanout (k) that a model's name stands for; None leaves them to the device."""

    layers: int | None
    fanout: int | None


def plan_of(name: str) -> Plan | None:
    """Returns what a model's name stands for; None if there is no such model."""
    if name == "moa":
        return Plan(None, None)
    if name == "local":
        return Plan(0, 0)
    match = _PLAN.fullmatch(name)
    if match is None:
        return None
    layers, fanout = int(match[1]), int(match[2])
    return Plan(layers, fanout) if layers <= LAYERS_MAX and fanout <= FANOUT_MAX else None
