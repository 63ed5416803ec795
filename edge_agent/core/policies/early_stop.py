"""Whether the layers that are left are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class EarlyStop(Protocol):
    """May end the layers of a session before its M-th."""

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Returns whether to aggregate now, after `layer` joined with these responses."""
        ...


class Never:
    """Runs all M layers: the paper's."""

    @classmethod
    def from_argument(cls, argument: str) -> Never:
        """Takes no argument."""
        if argument:
            raise ValueError("never takes no argument")
        return cls()

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Never."""
        return False
