"""Response selection `scored(s)`: the s responses that are probably best, without asking an LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_agent.core.messages import FANOUT_MAX
from edge_agent.core.policies.arguments import parse_count
from edge_agent.core.policies.response_features import ModelResponse, features
from edge_agent.core.policies.scored_weights import WITH_SIZES, WITHOUT_SIZES


class Scored:
    """`scored(s)`. A response's score is a weighted sum of its features; the difference of two is the logarithm of the
    odds that people prefer the one to the other (Bradley and Terry 1952).

    The weights were fitted once on preferences (`scored_weights`). Where the size of a model of the layer is not known,
    weights hold that were fitted without sizes.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept

    @classmethod
    def from_argument(cls, argument: str) -> Scored:
        """Takes s."""
        return cls(
            parse_count(argument, what="s, the responses to keep", example="scored(1)", count_max=FANOUT_MAX + 1)
        )

    def choose(self, responses: Sequence[ModelResponse]) -> list[int]:
        """Returns the s with the highest scores, the highest first; of equals the earlier one first."""
        everyone = range(len(responses))
        if len(responses) <= self._kept:
            return list(everyone)
        found = features(responses)
        score = scores(found, WITH_SIZES if "size" in found else WITHOUT_SIZES)
        return sorted(everyone, key=lambda index: (-score[index], index))[: self._kept]


def scores(found: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> list[float]:
    """Returns the weighted sum for each response: `found` as `features` returns them, `weights` by feature."""
    columns = [[weight * value for value in found[name]] for name, weight in weights.items()]
    return [sum(row) for row in zip(*columns, strict=True)]
