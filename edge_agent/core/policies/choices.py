"""Of a few random peers the quickest: most of the gain of knowing everybody, none of the herding."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies.arguments import parse_count
from edge_agent.core.policies.expected_time import expected_times_s
from edge_agent.core.policies.peer_selection import Candidates, Draws, sample_distinct
from edge_agent.core.settings import DeviceIdentity

CHOICES_MAX = 32  # more compared at a time is "always the least loaded", which old news makes worse than uniform


class Choices:
    """For each slot the quickest of d random peers not chosen yet. d = 1 is uniform; d = 2 is `two-choices`.

    Source: the power of two choices (Azar et al. 1994; Mitzenmacher 1996), on expected time instead of queue length.
    """

    def __init__(self, drawn: int) -> None:
        self._drawn = drawn

    @classmethod
    def from_argument(cls, argument: str) -> Choices:
        """Takes d."""
        return cls(parse_count(argument, what="d, the peers to compare", example="choices(2)", count_max=CHOICES_MAX))

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Fills slot after slot. Equals are chosen by the draw: nobody is favoured for its place in the view."""
        chosen: list[PeerEntry] = []
        taken = list(excluded)
        for _ in range(count):
            drawn = sample_distinct(candidates, self._drawn, taken, draws)
            if not drawn:
                break
            times = expected_times_s(drawn) or [float(entry.requests_waiting) for entry in drawn]
            best = drawn[times.index(min(times))]
            chosen.append(best)
            taken.append(best.device_id)
        return chosen
