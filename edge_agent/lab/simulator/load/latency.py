"""The distribution of a prompt's latency out of the mean sojourn times of devices: fork-join, numerically.

A layer lasts as long as the slowest of k+1 sojourns, the origin's and k others'; M layers and the aggregation follow
each other. Sojourns are taken as exponential (they are in M/M/1) and as independent. With equal devices the mean is
the closed form of `edge_agent.core.stability.end_to_end_latency_s`.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

_STEPS = 600  # a convolution costs the square; the mean is kept to four figures, a quantile to three
_TAIL = 10.0  # sojourns: e^-10 of an exponential lies beyond


class LatencyLaw:
    """Mean and quantiles of the latency; infinite if any queue grows without bound.

    sojourns: how many devices have each mean sojourn time (seconds).
    """

    def __init__(self, sojourns: Counter[float], layers: int, fanout: int) -> None:
        self._sojourns = sojourns
        self._layers = layers
        self._fanout = fanout
        self._stable = math.inf not in sojourns
        # the sum of M + 1 stages has a shorter tail than M + 1 tails
        self._step = max(sojourns) * (_TAIL + 3.0 * layers) / _STEPS if self._stable else math.inf
        self._law: list[float] | None = None

    def mean(self) -> float:
        """Returns seconds."""
        if not self._stable:
            return math.inf
        total = sum(self._sojourns.values())
        weighted = 0.0
        for own_s, count in self._sojourns.items():
            layer = self._layer_cdf(own_s)
            survived = [1.0 - share for share in layer]
            layer_mean = sum((before + after) / 2.0 for before, after in pairwise(survived)) * self._step
            weighted += count * (self._layers * layer_mean + own_s)
        return weighted / total

    def quantile(self, share: float) -> float:
        """Returns the seconds that `share` of the prompts do not exceed."""
        if not self._stable:
            return math.inf
        if self._law is None:
            self._law = self._cdf()
        for at, (before, after) in enumerate(pairwise(self._law)):
            if after >= share:
                return (at + (share - before) / (after - before)) * self._step
        return _STEPS * self._step

    def _cdf(self) -> list[float]:
        total = sum(self._sojourns.values())
        mixed = [0.0] * (_STEPS + 1)
        for own_s, count in self._sojourns.items():
            law = self._exponential(own_s)
            layer = [after - before for before, after in pairwise(self._layer_cdf(own_s))]
            for _ in range(self._layers):
                law = self._convolve(law, layer)
            mixed = [share + count / total * mine for share, mine in zip(mixed, law, strict=True)]
        return mixed

    def _layer_cdf(self, own_s: float) -> list[float]:
        """The slowest of the origin and k others, who are drawn from all devices but the origin."""
        others = sum(self._sojourns.values()) - 1
        cdf = self._exponential(own_s)
        if not others or not self._fanout:
            return cdf
        drawn = [0.0] * (_STEPS + 1)
        for mean_s, count in self._sojourns.items():
            weight = (count - (mean_s == own_s)) / others
            drawn = [share + weight * mine for share, mine in zip(drawn, self._exponential(mean_s), strict=True)]
        return [mine * other**self._fanout for mine, other in zip(cdf, drawn, strict=True)]

    def _exponential(self, mean_s: float) -> list[float]:
        return [1.0 - math.exp(-at * self._step / mean_s) for at in range(_STEPS + 1)]

    @staticmethod
    def _convolve(cdf: list[float], density: list[float]) -> list[float]:
        """The sum of two times; a cell of `density` is taken as half at each of its ends."""
        halves = [0.5 * part for part in density]
        points = [first + second for first, second in zip([*halves, 0.0], [0.0, *halves], strict=True)]
        return [sum(points[shift] * cdf[at - shift] for shift in range(at + 1)) for at in range(_STEPS + 1)]
