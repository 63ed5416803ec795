"""Declared service times, for load experiments without a language model: live and in the simulator alike.

A spec is text such as `exponential:1.0` (the mean), `deterministic:0.5` (the mean) or `gamma:4,0.5` (shape, mean), all
in seconds. Gamma lies between the other two: shape 1 is exponential, a large shape is nearly deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from edge_agent.core.errors import SettingsError

SPEC_FORMS = "exponential:MEAN, deterministic:MEAN or gamma:SHAPE,MEAN (seconds)"


class Distribution(StrEnum):
    """How service times vary."""

    EXPONENTIAL = "exponential"
    DETERMINISTIC = "deterministic"
    GAMMA = "gamma"


class RandomSource(Protocol):
    """The part of `random.Random` that is used here."""

    def expovariate(self, lambd: float, /) -> float:
        """An exponential variate of rate `lambd`."""
        ...

    def gammavariate(self, alpha: float, beta: float, /) -> float:
        """A gamma variate of shape `alpha` and scale `beta`."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A distribution of service times. `mean_s` is in seconds; `shape` matters for gamma only.

    Raises:
        SettingsError: mean or shape is not a finite number above 0.
    """

    distribution: Distribution
    mean_s: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean_s), ("shape", self.shape)):
            if not (math.isfinite(value) and value > 0.0):
                raise SettingsError(f"the {name} of a service time must be a number above 0, not {value}")

    @property
    def scv(self) -> float:
        """Squared coefficient of variation, C² (variance over squared mean)."""
        return {
            Distribution.EXPONENTIAL: 1.0,
            Distribution.DETERMINISTIC: 0.0,
            Distribution.GAMMA: 1.0 / self.shape,
        }[self.distribution]

    def draw(self, rng: RandomSource) -> float:
        """Draws one service time in seconds."""
        if self.distribution is Distribution.DETERMINISTIC:
            return self.mean_s
        if self.distribution is Distribution.EXPONENTIAL:
            return rng.expovariate(1.0 / self.mean_s)
        return rng.gammavariate(self.shape, self.mean_s / self.shape)

    def __str__(self) -> str:
        """The spec that `parse_service` turns back into this."""
        shape = f"{self.shape:g}," if self.distribution is Distribution.GAMMA else ""
        return f"{self.distribution}:{shape}{self.mean_s:g}"


def parse_service(spec: str) -> ServiceTime:
    """Reads a spec such as `gamma:4,0.5`.

    Raises:
        SettingsError: it has another form.
    """
    kind, _, rest = spec.strip().partition(":")
    try:
        distribution = Distribution(kind.strip().lower())
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        raise _bad_spec(spec) from None
    if distribution is Distribution.GAMMA and len(numbers) == 2:
        return ServiceTime(distribution, mean_s=numbers[1], shape=numbers[0])
    if distribution is not Distribution.GAMMA and len(numbers) == 1:
        return ServiceTime(distribution, mean_s=numbers[0])
    raise _bad_spec(spec)


def _bad_spec(spec: str) -> SettingsError:
    return SettingsError(f"service time {spec!r} is not of the form {SPEC_FORMS}")
