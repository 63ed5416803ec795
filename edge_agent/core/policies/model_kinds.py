"""Peers by what they run: as different as possible, or all the same."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import PeerEntry
from edge_agent.core.policies.peer_selection import LOOKED_AT_MAX, Candidates, Draws, sample_distinct
from edge_agent.core.settings import DeviceIdentity


class Diverse:
    """Peers of other model families first, each family once while that is possible; uniform otherwise.

    Different families make different mistakes (Mixture-of-Agents, arXiv 2406.04692, gains most from mixing).
    """

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Fills slot after slot with the family that is rarest so far, drawn at random among equals."""
        entries = sample_distinct(candidates, LOOKED_AT_MAX + len(excluded), (), draws)
        uses = {own.model_family: 1}
        left = []
        for entry in entries:
            if entry.device_id in excluded:  # asked in this layer: its family is there already
                uses[entry.model_family] = uses.get(entry.model_family, 0) + 1
            else:
                left.append(entry)
        chosen: list[PeerEntry] = []
        while left and len(chosen) < count:
            rarest = min(left, key=lambda entry: uses.get(entry.model_family, 0))
            left.remove(rarest)
            uses[rarest.model_family] = uses.get(rarest.model_family, 0) + 1
            chosen.append(rarest)
        return chosen


class SameModel:
    """Only peers that run one model: this device's, or a named one with `same-model(NAME)`.

    Self-MoA (arXiv 2502.00674): sampling the best model several times can beat mixing it with weaker ones. So nobody
    else fills up: with too few such peers the layer goes on with fewer.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    @classmethod
    def from_argument(cls, argument: str) -> SameModel:
        """Takes the name of a model, or nothing for this device's own."""
        return cls(argument.strip())

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Draws uniformly among the peers of that model."""
        wanted = self._model or own.model
        entries = sample_distinct(candidates, LOOKED_AT_MAX, excluded, draws)
        return [entry for entry in entries if entry.model == wanted][:count]
