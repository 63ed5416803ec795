"""Numbers as they are told to people and databases."""

from __future__ import annotations

from dataclasses import replace
from typing import get_type_hints

from edge_agent.core.messages import DeviceStatus

SIGNIFICANT_DIGITS = 10
DECIMALS = 12
"""What every store gives back exactly. VictoriaMetrics keeps decimals: of some floats it gets the twelfth digit wrong,
and beside large figures it cuts the last digits of small ones of the same series. Within these bounds a figure below
a million comes back as it was written (160,000 were tried), and is still finer than any clock of a device."""


def told(figure: float) -> float:
    """Returns the figure as it is told: `SIGNIFICANT_DIGITS`, at most `DECIMALS` of them behind the point.

    Telling it again changes nothing.
    """
    return round(float(f"{figure:.{SIGNIFICANT_DIGITS}g}"), DECIMALS)


_STATUS_FIGURES = tuple(name for name, hint in get_type_hints(DeviceStatus).items() if hint is float)


def as_told(status: DeviceStatus) -> DeviceStatus:
    """Returns the status with its figures as they are told: on the wire to the digit as in a database."""
    return replace(status, **{name: told(getattr(status, name)) for name in _STATUS_FIGURES})  # type: ignore[arg-type]  # all of them are floats
