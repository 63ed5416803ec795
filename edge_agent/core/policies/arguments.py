"""Reads what stands in the brackets behind a policy's name. Each raises `ValueError` in words a user understands."""

from __future__ import annotations

import math


def expect_none(name: str, argument: str) -> None:
    """Checks that nothing stands there."""
    if argument.strip():
        raise ValueError(f"{name} takes no argument")


def parse_count(argument: str, *, what: str, example: str, count_max: int) -> int:
    """Returns a whole number from 1 to `count_max`."""
    text = argument.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= count_max:
        raise ValueError(f"needs {what}, 1 to {count_max}, such as {example}")
    return int(text)


def parse_number(argument: str, *, what: str, example: str, above: float = 0.0, at_most: float = math.inf) -> float:
    """Returns a finite number above `above` and at most `at_most`."""
    try:
        number = float(argument)
    except ValueError:
        number = math.nan
    if not (above < number <= at_most and math.isfinite(number)):
        bound = "" if math.isinf(at_most) else f" and at most {at_most:g}"
        raise ValueError(f"needs {what}, above {above:g}{bound}, such as {example}")
    return number
