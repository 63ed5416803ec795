"""How many layers and peers a prompt gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_agent.core.policies.arguments import expect_none


@dataclass(frozen=True, slots=True)
class Load:
    """This device's load when a prompt comes in, in units of its mean service time: the same for fast and slow models.

    offered: items asking this device for a place in a mean service time, accepted or not, smoothed
        (`core.load.OfferedLoad`); above 1 no queue can bear it for long.
    backlog: mean service times until an item that came now would start.
    elapsed: mean service times since the prompt before; infinite at the first.
    """

    offered: float = 0.0
    backlog: float = 0.0
    elapsed: float = float("inf")


class LayerPlan(Protocol):
    """Decides M and k of a session when it is accepted."""

    def plan(self, layers: int, fanout: int, load: Load) -> tuple[int, int]:
        """Returns (M, k) for a prompt that asked for `layers` and `fanout`, which are upper bounds."""
        ...


class Fixed:
    """What was asked for: the paper's."""

    @classmethod
    def from_argument(cls, argument: str) -> Fixed:
        """Takes no argument."""
        expect_none("fixed", argument)
        return cls()

    def plan(self, layers: int, fanout: int, load: Load) -> tuple[int, int]:
        """Returns what was asked for."""
        return layers, fanout
