"""Which peers are asked in a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.core.messages import PeerEntry
from edge_agent.core.settings import DeviceIdentity

LOOKED_AT_MAX = 128
"""Candidates that a selection compares with each other: a whole view by default, a random part of a larger one."""


class Draws(Protocol):
    """The randomness of a selection."""

    def random(self) -> float:
        """Returns a float in [0, 1)."""
        ...


class Candidates(Protocol):
    """The alive peers, in no meaningful order. May be far larger than what is selected: do not copy it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> PeerEntry: ...


class PeerSelection(Protocol):
    """Chooses peers for a layer, or substitutes."""

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Returns up to `count` distinct candidates whose ids are not in `excluded`.

        Fewer if there are no more, or no more that the policy finds worth asking: the layer then goes on with less.

        Args:
            candidates: the alive peers, as far as this device knows.
            count: the slots to fill: k at the beginning of a layer, 1 for a substitute.
            excluded: ids of the devices asked in this layer so far, this one's among them.
            own: this device.
            draws: the only randomness to use.
        """
        ...


def sample_distinct(candidates: Candidates, count: int, excluded: Sequence[str], draws: Draws) -> list[PeerEntry]:
    """Returns `count` candidates drawn uniformly without replacement, or all there are if fewer.

    Draws and rejects while that is cheap, so that a choice of 2 among 100,000 does not look at 100,000.
    """
    total = len(candidates)
    chosen: list[PeerEntry] = []
    if total > 4 * (count + len(excluded)):
        taken = list(excluded)
        while len(chosen) < count:
            entry = candidates[int(draws.random() * total)]
            if entry.device_id not in taken:
                taken.append(entry.device_id)
                chosen.append(entry)
        return chosen
    left = [candidates[index] for index in range(total)]
    if excluded:
        left = [entry for entry in left if entry.device_id not in excluded]
    while left and len(chosen) < count:
        index = int(draws.random() * len(left))
        left[index], left[-1] = left[-1], left[index]
        chosen.append(left.pop())
    return chosen


class Uniform:
    """Every set of peers is equally likely: the paper's selection, to which its stability condition belongs."""

    def select(
        self, candidates: Candidates, count: int, excluded: Sequence[str], own: DeviceIdentity, draws: Draws
    ) -> list[PeerEntry]:
        """Returns a uniform sample without replacement."""
        return sample_distinct(candidates, count, excluded, draws)
