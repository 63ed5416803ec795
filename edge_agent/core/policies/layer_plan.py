"""How many layers and peers a prompt gets."""

from __future__ import annotations

from typing import Protocol

from edge_agent.core.load import Load


class LayerPlan(Protocol):
    """Decides M and k of a session when it is accepted."""

    def plan(self, layers: int, fanout: int, load: Load) -> tuple[int, int]:
        """Returns (M, k) for a prompt that asked for `layers` and `fanout`, which are upper bounds."""
        ...


class Fixed:
    """What was asked for: the paper's."""

    def plan(self, layers: int, fanout: int, load: Load) -> tuple[int, int]:
        """Returns what was asked for."""
        return layers, fanout
