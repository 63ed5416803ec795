"""The names under which a judge is asked for: response selection `judge(s)` and early stop `judge`, one call for both.

Both are neutral without a judgement. What the judge is asked, when, and what its word does: `core.judging`.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import FANOUT_MAX
from edge_agent.core.policies.arguments import parse_count
from edge_agent.core.policies.response_features import ModelResponse


class Judge:
    """Response selection `judge(s)`: the s responses that the judge ranks first."""

    def __init__(self, picks: int) -> None:
        self.picks = picks

    @classmethod
    def from_argument(cls, argument: str) -> Judge:
        """Takes s."""
        return cls(parse_count(argument, what="s, the responses to keep", example="judge(2)", count_max=FANOUT_MAX + 1))

    def choose(self, responses: Sequence[ModelResponse]) -> list[int]:
        """Returns every index: what holds until, and without, a judgement."""
        return list(range(len(responses)))


class JudgeStop:
    """Early stop `judge`: no more layers once the judge calls the best response correct and complete."""

    def stops(self, layer: int, references: Sequence[str]) -> bool:
        """Returns `False`: what holds without a judgement."""
        return False
