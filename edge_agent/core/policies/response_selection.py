"""Which responses of a layer become references for what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.core.messages import FANOUT_MAX
from edge_agent.core.policies.arguments import parse_count
from edge_agent.core.policies.response_features import ModelResponse
from edge_agent.core.policies.text_similarity import similarities


class ResponseSelection(Protocol):
    """Chooses among the responses of a joined layer."""

    def choose(self, responses: Sequence[ModelResponse]) -> list[int]:
        """Returns indices into `responses`, in the order in which they shall be given to the LLM."""
        ...


class AllResponses:
    """Every response is a reference: the paper's."""

    def choose(self, responses: Sequence[ModelResponse]) -> list[int]:
        """Returns every index."""
        return list(range(len(responses)))


class Consensus:
    """The s responses that agree most with the others: `consensus(2)`. No LLM is asked.

    Agreement is the mean `text_similarity` to the other responses. What several proposers say alike is kept, the odd
    one out goes. Two responses agree with each other equally: then both stay.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept

    @classmethod
    def from_argument(cls, argument: str) -> Consensus:
        """Takes s."""
        return cls(
            parse_count(argument, what="s, the responses to keep", example="consensus(2)", count_max=FANOUT_MAX + 1)
        )

    def choose(self, responses: Sequence[ModelResponse]) -> list[int]:
        """Returns the s most agreed with, the most agreed with first."""
        everyone = list(range(len(responses)))
        if len(responses) <= max(self._kept, 2):
            return everyone
        agreement = [sum(row) for row in similarities([one.text for one in responses])]
        return sorted(everyone, key=lambda index: (-agreement[index], index))[: self._kept]
