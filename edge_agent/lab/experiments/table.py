"""Table I of the paper (arXiv 2412.21200): n = 4 devices, 10 prompts, total rate 1 a second, 70B-class models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

DEVICES = 4
PROMPTS = 10
ARRIVAL_RATE_HZ = 0.25
"""λ, per device."""
SERVICE_TIME_S = 47.0
"""α: what makes the row M = 0 agree; the paper prints no service time of its own."""


@final
@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the table, for the same LLM on all devices at temperature 0.7. Seconds, items."""

    layers: int
    fanout: int
    latency_s: float
    queue: float

    @property
    def plan(self) -> str:
        """M and k as people write them."""
        return f"M={self.layers}, k={self.fanout}"


ROWS = (
    PaperRow(0, 0, 94.01, 0.60),
    PaperRow(1, 1, 329.92, 2.04),
    PaperRow(1, 2, 484.81, 3.28),
    PaperRow(2, 1, 603.43, 2.32),
    PaperRow(2, 2, 790.01, 4.80),
    PaperRow(1, 3, 578.88, 3.74),
    PaperRow(2, 3, 1074.28, 5.78),
)
