"""A mesh of equal devices under load, and what follows of it by counting alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from edge_agent.core.stability.checks import ONE_SERVER, check_not_negative, check_plan, check_positive, check_speed_up
from edge_agent.core.stability.conditions import items_per_prompt
from edge_agent.core.stability.servers import Chain, chain

MANY = 1_000_000
"""Devices of a mesh that is so large that no two prompts meet twice."""
APPROXIMATION = (
    "an approximation fitted on exact simulations, for equal devices: means within some 3 %, p95 5 %, p99 10 % "
    "(docs/THEORY.md)"
)


def kind(mesh: Mesh, *, bounded: bool = False, equal: bool = True) -> str:
    """Says in a few words what sort of prediction `MeshLaw` makes of a mesh, for wherever one is shown."""
    if not equal or bounded:
        return "a rough approximation: the law of equal devices with unbounded queues, stretched (docs/THEORY.md)"
    if not mesh.layers and len(mesh.speed_up) == 1:
        return "exact means (Pollaczek-Khinchine), approximate quantiles (docs/THEORY.md)"
    if not mesh.layers and mesh.squared_variation == 1.0:
        return "exact means (birth-death chain), approximate quantiles (docs/THEORY.md)"
    return APPROXIMATION


@final
@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh of equal devices.

    utilisation: ρ, below 1 for finite figures. squared_variation: C² of the service times of items of one kind: 1
        exponential, 0 constant. aggregation_factor: how many times longer items with references take than plain ones.
        speed_up: how many times the work of one item is done while 1, 2, ..., c are served.

    Raises:
        ValueError: what a mesh cannot be.
    """

    layers: int
    fanout: int
    devices: int
    utilisation: float
    squared_variation: float = 1.0
    aggregation_factor: float = 1.0
    speed_up: Sequence[float] = ONE_SERVER

    def __post_init__(self) -> None:
        check_plan(self.layers, self.fanout)
        check_not_negative("utilisation", self.utilisation)
        check_not_negative("squared_variation", self.squared_variation)
        check_positive("aggregation_factor", self.aggregation_factor)
        check_speed_up(self.speed_up)
        if self.layers and self.fanout >= self.devices:
            raise ValueError(f"fanout must be below the number of devices, not {self.fanout} with {self.devices}")

    def alone(self) -> Chain:
        """Returns the queue of a device as if it were alone and items exponential."""
        return chain(self.utilisation, self.speed_up)

    @property
    def kinds(self) -> tuple[float, float]:
        """Mean service times of a plain item and of one with references, that of all being 1."""
        items = items_per_prompt(self.layers, self.fanout)
        plain = self.fanout + 1 if self.layers else 1
        mean = (plain + (items - plain) * self.aggregation_factor) / items
        return 1.0 / mean, (self.aggregation_factor if self.layers else 1.0) / mean

    @property
    def _mix(self) -> float:
        """Mean square of the kinds' mean service times."""
        items = items_per_prompt(self.layers, self.fanout)
        plain = self.fanout + 1 if self.layers else 1
        return (plain * self.kinds[0] ** 2 + (items - plain) * self.kinds[1] ** 2) / items

    def measured(self, squared_variation: float) -> Mesh:
        """Returns this mesh with the C² of one kind that follows from that of all items together."""
        return replace(self, squared_variation=max(0.0, (1.0 + squared_variation) / self._mix - 1.0))

    @property
    def second_moment(self) -> float:
        """Of the service times of all items."""
        return self._mix * (1.0 + self.squared_variation)

    @property
    def asked_share(self) -> float:
        """How likely a given other device is asked in a layer: k / (n-1); 0 where there is no other device."""
        return self.fanout / (self.devices - 1) if self.layers and self.devices > 1 else 0.0

    @property
    def together(self) -> float:
        """The correlation of two devices' queues: the share of their work that arrives at both at the same moment."""
        (plain, long), layer = self.kinds, self.fanout + 1
        common = sum(layer * (long if at else plain) ** 2 for at in range(self.layers))
        return self.asked_share * common / items_per_prompt(self.layers, self.fanout) / self.second_moment
