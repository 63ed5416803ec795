"""Leaves out peers whose value is not worth their latency (the idea of WDMoE, arXiv 2405.03131)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies.arguments import parse_number
from edge_agent.core.policies.expected_time import expected_times_s
from edge_agent.core.policies.peer_selection import LOOKED_AT_MAX, Candidates, Draws, sample_distinct
from edge_agent.core.settings import DeviceIdentity

THRESHOLD_DEFAULT = "0.25"  # four times slower than the best is not worth waiting for


class LatencyThreshold:
    """Uniform among the peers whose value over expected latency is at least a share of the best peer's.

    `latency-threshold(0.25)`, or with values by model family, 1 where not named: `latency-threshold(0.25, qwen=2)`. If
    fewer are left than wanted, the best of those left out fill up: they are slow, and a slow response still is one.
    """

    def __init__(self, threshold: float, values: dict[str, float]) -> None:
        self._threshold = threshold
        self._values = values

    @classmethod
    def from_argument(cls, argument: str) -> LatencyThreshold:
        """Takes the share, above 0 and at most 1, and values as `family=number`, separated by commas."""
        first, *rest = (argument or THRESHOLD_DEFAULT).split(",")
        example = "latency-threshold(0.25, qwen=2)"
        values = {}
        for part in rest:
            family, _, number = part.partition("=")
            values[family.strip()] = parse_number(number, what="values as family=number", example=example)
        return cls(parse_number(first, what="a share of the best", example=example, at_most=1.0), values)

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Draws among those good enough; the random order of the sample is the draw."""
        entries = sample_distinct(candidates, LOOKED_AT_MAX, excluded, draws)
        times = expected_times_s(entries)
        if times is None:
            return entries[:count]
        worth = [self._values.get(entry.model_family, 1.0) / time for entry, time in zip(entries, times, strict=True)]
        enough = self._threshold * max(worth)
        # those good enough first, in the random order drawn; then the rest, the best first
        ranked = sorted(zip(worth, entries, strict=True), key=lambda pair: 0.0 if pair[0] >= enough else 1.0 / pair[0])
        return [entry for _, entry in ranked[:count]]
