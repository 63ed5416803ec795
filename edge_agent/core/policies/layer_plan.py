"""How many layers and peers a prompt gets."""

from __future__ import annotations

from typing import Protocol


class LayerPlan(Protocol):
    """Decides M and k of a session when it is accepted."""

    def plan(self, layers: int, fanout: int, stability_margin: float) -> tuple[int, int]:
        """Returns (M, k) for a prompt that asked for `layers` and `fanout`, given the margin measured last."""
        ...


class Fixed:
    """What was asked for: the paper's."""

    @classmethod
    def from_argument(cls, argument: str) -> Fixed:
        """Takes no argument."""
        if argument:
            raise ValueError("fixed takes no argument")
        return cls()

    def plan(self, layers: int, fanout: int, stability_margin: float) -> tuple[int, int]:
        """Returns what was asked for."""
        return layers, fanout
