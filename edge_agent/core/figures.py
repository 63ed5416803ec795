"""Numbers as they are told to people and databases."""

from __future__ import annotations

SIGNIFICANT_DIGITS = 12
"""What every store keeps exactly: VictoriaMetrics turns a float into a decimal of about this many digits. With more,
the same figure would differ in its last digits from one database to another. Far finer than any clock of a device."""


def told(figure: float) -> float:
    """Returns the figure as it is told: rounded to `SIGNIFICANT_DIGITS`. Telling it again changes nothing."""
    return float(f"{figure:.{SIGNIFICANT_DIGITS}g}")
