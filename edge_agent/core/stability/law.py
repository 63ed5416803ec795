"""What a mesh of equal devices does under load: waiting, latency and its tail, for c servers a device.

An approximation in three steps, each corrected by a polynomial that was fitted once on exact simulations
(`edge_agent.core.stability.fitted`, made by `python -m bench.law.fit`; docs/THEORY.md tells its errors):

1. Waiting by two moments, W = W(M/M/c) (Ca² + Cs²) / 2 (Kingman 1961; Allen and Cunneen), where Ca² > 1: when the
   origin itself was the slowest of a layer, its next item comes the moment that one ends, while those that came
   meanwhile wait. These returns are M of (k+1)M + 1 items.
2. A layer lasts as long as the slowest of k+1 sojourns; the largest of k+1 exponentials lies H(k+1) - 1 standard
   deviations above their mean. Queues of a small mesh get the same items at the same moment, so that they rise and fall
   together: the share of common arrivals is their correlation, and what remains of the spread counts.
3. Quantiles from mean and variance as of a gamma distribution (Wilson and Hilferty 1931). The variance counts that the
   stages of one prompt meet the same queues.

Times are in mean service times of an item alone. M is `layers`, k is `fanout`, n is `devices`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import final

from edge_agent.core.stability import fitted
from edge_agent.core.stability.conditions import items_per_prompt
from edge_agent.core.stability.mesh import Mesh
from edge_agent.core.stability.servers import Chain
from edge_agent.core.stability.simple import harmonic_number

_JOINED_POWER = 1.3
"""How the spreads of waiting and of service add up in the slowest of a layer: with 1 they would add, with 2 as squares
of independent ones. Fits the slowest of k+1 independent M/M/1 sojourns within 1 %."""
_RETURNS_FELT = 0.7  # by how much less variable a queue's arrivals are made by returns when service is exponential
_IDLE = 1e-6  # the utilisation that an idle mesh counts as: its figures are those of no load to six digits
RANGES = {
    **{"r": (0.0, 0.92), "u": (0.1, 0.92), "s": (0.0, 1.0), "f": (0.0, 2 / 3), "m": (0.25, 1.0)},
    **{"k": (1 / 7, 0.5), "x": (0.0, 1.0), "e": (0.0, 1.0), "c": (0.125, 1.0)},
}
"""Of each variable of the corrections, what was simulated; beyond it they stay what they are at the edge."""
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def waiting_base(mesh: Mesh, alone: Chain) -> float:
    """Step 1: the mean waiting time of an item, uncorrected."""
    returns = mesh.layers / items_per_prompt(mesh.layers, mesh.fanout)
    felt = max(0.0, 1.0 - _RETURNS_FELT * mesh.squared_variation)
    variation = (mesh.second_moment + returns * felt) / 2.0
    # At low load one waits for the first of c items to end: 1/(c+1) if they are constant, 1/c if they are exponential.
    servers = len(mesh.speed_up)
    first = (servers - 1.0) / (servers + 1.0) * (1.0 - mesh.utilisation) ** 2
    return alone.waiting_time * (variation + (1.0 - variation) * first)


def latency_base(mesh: Mesh, alone: Chain, waiting: float) -> tuple[float, float]:
    """Step 2: mean and variance of a prompt's latency with that mean waiting time, uncorrected."""
    count, busy, together = mesh.fanout + 1, alone.all_busy, mesh.together
    # waiting is 0, or exponential where all servers are busy
    variance = waiting**2 * (2.0 / busy - 1.0)
    slowest = waiting / busy * math.fsum((1.0 - (1.0 - busy) ** i) / i for i in range(1, count + 1)) - waiting
    slowest *= math.sqrt(1.0 - together)
    above = harmonic_number(count) - 1.0
    of_largest = math.fsum(1.0 / i**2 for i in range(1, count + 1))
    mean = total = 0.0
    plain, long = mesh.kinds
    own, shared = mesh.squared_variation, alone.sharing  # what an item's size and its neighbours make of its service
    apart = math.sqrt(own + (1.0 - together) * shared)
    for layer in range(mesh.layers):
        service = alone.serving_time * (long if layer else plain)
        spread = service * apart
        mean += waiting + service + (slowest**_JOINED_POWER + (spread * above) ** _JOINED_POWER) ** (1 / _JOINED_POWER)
        total += together * (variance + service**2 * shared)
        total += ((1.0 - together) * (variance + service**2 * shared) + service**2 * own) * of_largest
    service = alone.serving_time * long
    mean += waiting + service
    total += variance + service**2 * (own + shared)
    # pairs of stages that meet the same queue: the origin's always, a peer's if it is asked again
    again = (1.0 + mesh.fanout * mesh.asked_share) / count**2
    again += together * (1.0 - again)
    last = (1.0 + together * mesh.fanout) / count
    pairs = mesh.layers * (mesh.layers - 1) / 2.0 * again + mesh.layers * last
    met = variance + alone.serving_time**2 * shared
    return mean, total + 2.0 * met * mesh.utilisation * pairs


def quantile_base(mean: float, variance: float, share: float) -> float:
    """Step 3: the value that `share` of gamma distributed times do not exceed, uncorrected."""
    ninth = variance / mean**2 / 9.0
    return float(mean * max(0.0, 1.0 - ninth + NormalDist().inv_cdf(share) * math.sqrt(ninth)) ** 3)


def variables(mesh: Mesh, alone: Chain) -> dict[str, float]:
    """Returns what the corrections are polynomials in, each within the range that was simulated."""
    found = {
        "r": alone.all_busy,
        "s": mesh.squared_variation,
        "f": 1.0 - 1.0 / mesh.aggregation_factor,
        "m": 1.0 / max(1, mesh.layers),
        "k": 1.0 / (mesh.fanout + 1),
        "x": mesh.asked_share,
        "u": mesh.utilisation,
        "e": math.log(mesh.speed_up[-1]) / math.log(len(mesh.speed_up)) if len(mesh.speed_up) > 1 else 1.0,
        "c": 1.0 / len(mesh.speed_up),
    }
    # counted from the middle of each range: products of what varies around 0 are told apart better
    return {
        name: min(max(value, RANGES[name][0]), RANGES[name][1]) - sum(RANGES[name]) / 2.0
        for name, value in found.items()
    }


def correction(mesh: Mesh, alone: Chain, figure: str) -> float:
    """Returns by what a base is multiplied for the figure as simulated: the exponential of its polynomials."""
    at = variables(mesh, alone)
    exponent = value(fitted.ONE_SERVER[figure] if mesh.layers else fitted.ALONE[figure], at)
    if len(mesh.speed_up) > 1:
        found = value(fitted.SERVERS[figure] if mesh.layers else fitted.SERVERS_ALONE[figure], at)
        exponent += found * inexact(mesh, figure)
    return math.exp(exponent)


def inexact(mesh: Mesh, figure: str) -> float:
    """Returns how far from exact the birth-death chain is for a figure: 0 for means of an exponential service without
    layers, 1 where nothing is known to be exact."""
    if mesh.layers or figure not in ("wait", "mean"):
        return 1.0
    return 1.0 - min(mesh.squared_variation, 1.0)


def value(polynomial: Mapping[str, float], at: Mapping[str, float]) -> float:
    """ "rrs" stands for r²s."""
    return math.fsum(factor * math.prod(at[name] for name in names) for names, factor in polynomial.items())


@final
class MeshLaw:
    """The predicted figures, in mean service times of an item alone; infinite at utilisation 1 and above.

    Exact for M = 0: mean waiting and mean latency with one server (Pollaczek-Khinchine) or exponential service (the
    chain). Else approximate; `kind` says so in a line, docs/THEORY.md by how much.
    """

    __slots__ = ("_alone", "_mesh", "_stable", "waiting_time")

    def __init__(self, mesh: Mesh) -> None:
        self._stable = mesh.utilisation < 1.0
        self._mesh = replace(mesh, utilisation=max(mesh.utilisation, _IDLE)) if self._stable else mesh
        self.waiting_time = math.inf
        """How long an item waits before its service, on average."""
        if self._stable:
            self._alone = self._mesh.alone()
            self.waiting_time = waiting_base(self._mesh, self._alone) * correction(self._mesh, self._alone, "wait")

    @property
    def requests_waiting(self) -> float:
        """Time average of the items waiting at a device, without those in service: Little's law."""
        return self._mesh.utilisation * self._mesh.speed_up[-1] * self.waiting_time if self._stable else math.inf

    @property
    def sojourn_time(self) -> float:
        """Of an item, its waiting and its service."""
        return self.waiting_time + self._alone.serving_time if self._stable else math.inf

    @property
    def waiting_correction(self) -> float:
        """How many times longer items wait than if they were exponential and came as a Poisson stream."""
        return self.waiting_time / self._alone.waiting_time

    @property
    def latency_mean(self) -> float:
        """From prompt to answer."""
        if not self._stable:
            return math.inf
        mean, _ = latency_base(self._mesh, self._alone, self.waiting_time)
        return mean * correction(self._mesh, self._alone, "mean")

    def latency_quantile(self, share: float) -> float:
        """What `share` of the prompts do not exceed. Corrected at 0.5, 0.95 and 0.99; in between it keeps the shape of
        the uncorrected ones, and beyond them their ratio."""
        if not self._stable:
            return math.inf
        _, variance = latency_base(self._mesh, self._alone, self.waiting_time)
        mean, base = self.latency_mean, 0.0
        wanted = quantile_base(mean, variance, share)
        low_base, low = 0.0, 0.0
        for name, of in SHARES.items():
            base = quantile_base(mean, variance, of)
            high = max(low, base * correction(self._mesh, self._alone, name))
            if share <= of:
                return low + (high - low) * (wanted - low_base) / (base - low_base) if base > low_base else high
            low_base, low = base, high
        return low * wanted / base
