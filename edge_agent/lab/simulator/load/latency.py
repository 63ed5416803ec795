"""The distribution of a prompt's latency out of the mean sojourn times of devices.

`ForkJoin` is numerical: a layer lasts as long as the slowest of k+1 sojourns, the origin's and k others'; M layers and
the aggregation follow each other. Sojourns are taken as exponential (they are in M/M/1) and as independent.
`LatencyLaw` corrects it by what `core.stability.MeshLaw` knows of equal devices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from edge_agent.core.stability import Mesh, MeshLaw

_STEPS = 600  # a convolution costs the square; the mean is kept to four figures, a quantile to three
LOAD_MAX = 0.95
"""Above it the corrections stay what they are here: a bounded queue has a latency there, an unbounded one hardly."""
_TAIL = 10.0  # sojourns: e^-10 of an exponential lies beyond


class LatencyLaw:
    """Mean and quantiles of the latency; infinite if any queue grows without bound.

    For equal devices it is that of `MeshLaw`. For unequal ones it is fork-join times the ratio of the two in a mesh of
    equal devices at a load between theirs: an approximation of an approximation, the better the closer they are.

    sojourns: how many devices have each mean sojourn time (seconds). mesh: equal devices whose ratio counts.
    """

    def __init__(self, sojourns: Counter[float], mesh: Mesh) -> None:
        self._stable = math.inf not in sojourns
        self._law = MeshLaw(mesh)
        self._one_s = next(iter(sojourns)) if len(sojourns) == 1 else None
        self._sojourn = self._law.sojourn_time  # of the equal devices
        self._unequal = ForkJoin(sojourns, mesh.layers, mesh.fanout)
        self._equal = ForkJoin(Counter({self._sojourn: sojourns.total()}), mesh.layers, mesh.fanout)

    def mean(self) -> float:
        """Returns seconds."""
        if not self._stable:
            return math.inf
        if self._one_s is not None:
            return self._one_s / self._sojourn * self._law.latency_mean
        return self._unequal.mean() * self._law.latency_mean / self._equal.mean()

    def quantile(self, share: float) -> float:
        """Returns the seconds that `share` of the prompts do not exceed."""
        if not self._stable:
            return math.inf
        expected = self._law.latency_quantile(share)
        if self._one_s is not None:
            return self._one_s / self._sojourn * expected
        return self._unequal.quantile(share) * expected / self._equal.quantile(share)


def load_between(loads: Sequence[float], sojourns: Sequence[float]) -> float:
    """Returns the load of the equal devices that stand for unequal ones: those where prompts are longest count most."""
    finite = [(load, sojourn) for load, sojourn in zip(loads, sojourns, strict=True) if sojourn < math.inf]
    total = math.fsum(sojourn for _, sojourn in finite)
    return min(LOAD_MAX, math.fsum(load * sojourn for load, sojourn in finite) / total) if finite else LOAD_MAX


class ForkJoin:
    """Mean and quantiles with exponential, independent sojourns; infinite if any queue grows without bound.

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
