"""Declared gains from several inferences at once, for load experiments without a language model.

A spec is text: `none`; `1,1.7,2.2`, how many times the work of one inference alone is done while 1, 2, 3 run, and of
more no more than of the last; or `amdahl:SHARE`, n / (1 + SHARE (n-1)): what each inference adds to a step, 0 for
nothing (n times the work), 1 for a whole one (no gain).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import SLOTS_MAX

SPEC_FORMS = "none, 1,1.7,2.2 (for 1, 2, 3 at once) or amdahl:SHARE with SHARE from 0 to 1"


@final
@dataclass(frozen=True, slots=True)
class SpeedUp:
    """`factors[n-1]` is the work done in a second while n inferences run, that of one alone being 1.

    Raises:
        SettingsError: it does not begin with 1, falls, or gains more than inferences were added.
    """

    factors: tuple[float, ...] = (1.0,)
    spec: str = "none"

    def __post_init__(self) -> None:
        factors = self.factors
        if not factors or factors[0] != 1.0:
            raise SettingsError("a speed-up begins with 1, for one inference alone")
        if len(factors) > SLOTS_MAX or not all(map(math.isfinite, factors)):
            raise SettingsError(f"a speed-up is at most {SLOTS_MAX} finite numbers")
        if any(later < earlier for earlier, later in pairwise(factors)):
            raise SettingsError("a speed-up never falls: more at once do not do less")
        if any(factor > running for running, factor in enumerate(factors, start=1)):
            raise SettingsError("a speed-up of n inferences is at most n")

    def factor(self, running: int) -> float:
        """Returns the work that `running` inferences (at least 1) do in a second, one alone doing 1."""
        return self.factors[min(running, len(self.factors)) - 1]

    def share(self, running: int) -> float:
        """Returns the part of that which each of them gets."""
        return self.factor(running) / running

    def __str__(self) -> str:
        """The spec that `parse_speed_up` turns back into this."""
        return self.spec


NO_GAIN = SpeedUp()


def parse_speed_up(spec: str) -> SpeedUp:
    """Reads a spec such as `amdahl:0.3`.

    Raises:
        SettingsError: it has another form, or no engine behaves so.
    """
    text = spec.strip()
    if text == "none":
        return NO_GAIN
    kind, separator, rest = text.partition(":")
    try:
        if not separator:
            return SpeedUp(tuple(float(part) for part in text.split(",")), text)
        share = float(rest)
    except ValueError:
        share = math.nan
    if kind != "amdahl" or not 0.0 <= share <= 1.0:
        raise SettingsError(f"speed-up {spec!r} is not of the form {SPEC_FORMS}")
    return SpeedUp(tuple(n / (1.0 + share * (n - 1)) for n in range(1, SLOTS_MAX + 1)), text)
