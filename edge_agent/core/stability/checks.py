"""What arguments of the theory must be."""

from __future__ import annotations

import math
from collections.abc import Sequence

ONE_SERVER = (1.0,)
"""The speed-up of a device that serves one item at a time."""
_ROUNDING = 1e-9


def check_plan(layers: int, fanout: int) -> None:
    """Raises `ValueError` if M or k is negative."""
    if layers < 0:
        raise ValueError(f"layers must not be negative, not {layers}")
    if fanout < 0:
        raise ValueError(f"fanout must not be negative, not {fanout}")


def check_speed_up(speed_up: Sequence[float]) -> None:
    """Raises `ValueError` if this is not how many times the work of one item is done while 1, 2, ..., c are served.

    A measured speed-up may fall on its way; what is asked is that it begins with 1 and is above 0.
    """
    if not speed_up or abs(speed_up[0] - 1.0) > _ROUNDING:
        raise ValueError("speed_up must begin with 1, for one item alone")
    for factor in speed_up:
        check_positive("speed_up", factor)


def check_positive(name: str, value: float) -> None:
    """Raises `ValueError` if the value is not finite and above 0."""
    if not (value > 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number above 0, not {value}")


def check_not_negative(name: str, value: float) -> None:
    """Raises `ValueError` if the value is not finite and 0 or more."""
    if not (value >= 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")
