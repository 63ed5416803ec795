"""Only peers that will answer in time (the first step of MoE2, arXiv 2501.09410: a subset within the delay budget)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies.arguments import parse_number
from edge_agent.core.policies.expected_time import expected_times_s
from edge_agent.core.policies.peer_selection import LOOKED_AT_MAX, Candidates, Draws, sample_distinct
from edge_agent.core.settings import DeviceIdentity


class Budget:
    """Uniform among the peers expected to respond within a number of seconds: `budget(30)`, for each layer.

    A budget is a promise, so nobody else fills up: the layer goes on with fewer peers, down to this device alone. That
    makes it shed load: where all are over the budget, prompts are answered locally until queues have shortened.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @classmethod
    def from_argument(cls, argument: str) -> Budget:
        """Takes the budget in seconds."""
        return cls(parse_number(argument, what="the seconds a layer may take", example="budget(30)"))

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Draws among those within the budget; while nobody's speed is known, among all."""
        entries = sample_distinct(candidates, LOOKED_AT_MAX, excluded, draws)
        times = expected_times_s(entries)
        if times is None:
            return entries[:count]
        return [entry for entry, time in zip(entries, times, strict=True) if time <= self._seconds][:count]
