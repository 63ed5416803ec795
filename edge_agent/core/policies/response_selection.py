"""Which responses of a layer become references for what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ResponseSelection(Protocol):
    """Chooses among the responses of a joined layer."""

    def choose(self, texts: Sequence[str]) -> list[int]:
        """Returns indices into `texts`, in the order in which they shall be given to the LLM."""
        ...


class AllResponses:
    """Every response is a reference: the paper's."""

    @classmethod
    def from_argument(cls, argument: str) -> AllResponses:
        """Takes no argument."""
        if argument:
            raise ValueError("all takes no argument")
        return cls()

    def choose(self, texts: Sequence[str]) -> list[int]:
        """Returns every index."""
        return list(range(len(texts)))
