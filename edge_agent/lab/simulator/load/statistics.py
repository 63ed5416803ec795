"""Means, quantiles and how far to trust them, by the method of batch means.

Latencies of neighbouring prompts are correlated, so their spread says little about the error of their mean. Cut into
a few long batches in the order of arrival, the batches are nearly independent, and Student's t of their values gives
the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

BATCHES = 20
_T_95 = 2.093  # Student's t, 97.5 % quantile, 19 degrees of freedom


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the half width of its 95 % interval; infinite if there was too little to tell."""

    value: float
    half_width: float = math.inf

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.half_width:.2g}" if math.isfinite(self.half_width) else f"{self.value:.4g}"


def mean(values: Sequence[float]) -> float:
    """Returns the arithmetic mean, NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least `share` of the values do not exceed, NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def estimate(values: Sequence[float], figure: Callable[[Sequence[float]], float]) -> Estimate:
    """Returns `figure` of all values, with the interval that its values in batches give."""
    size = len(values) // BATCHES
    if size < 2:
        return Estimate(figure(values))
    return Estimate(figure(values), half_width([figure(values[at * size : (at + 1) * size]) for at in range(BATCHES)]))


def half_width(batches: Sequence[float]) -> float:
    """Returns the half width of the 95 % interval of the mean of `BATCHES` batch values."""
    if len(batches) != BATCHES:
        return math.inf
    centre = mean(batches)
    variance = math.fsum((value - centre) ** 2 for value in batches) / (BATCHES - 1)
    return _T_95 * math.sqrt(variance / BATCHES)
