"""Whether the layers that are left are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.core.policies.arguments import parse_number
from edge_agent.core.policies.text_similarity import similarities


class EarlyStop(Protocol):
    """May end the layers of a session before its M-th."""

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Returns whether to aggregate now, after `layer` joined with these responses."""
        ...


class Never:
    """Runs all M layers: the paper's."""

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Never."""
        return False


AGREEMENT_DEFAULT = "0.5"  # half of the wording shared: far above unrelated answers to one question (0.1 to 0.3)


class Agreement:
    """Stops when responses say nearly the same: `agreement(0.5)`. Another layer would say it once more.

    Measured is the mean `text_similarity` over all pairs of the references chosen.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    @classmethod
    def from_argument(cls, argument: str) -> Agreement:
        """Takes the mean similarity, above 0 and at most 1, from which on to stop."""
        text = argument or AGREEMENT_DEFAULT
        return cls(parse_number(text, what="a similarity", example="agreement(0.5)", at_most=1.0))

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Returns whether the references agree; one alone agrees with nobody."""
        count = len(references)
        if count < 2:
            return False
        together = sum(map(sum, similarities(references))) - count  # without each text's likeness to itself
        return together / (count * (count - 1)) >= self._threshold
