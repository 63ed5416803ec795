"""Parts of a scenario as people write them."""

from __future__ import annotations

from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import UNBOUNDED
from edge_agent.lab.simulator.workload import Burst


def parse_capacity(text: str) -> int:
    """Reads a number of places, or `unbounded`.

    Raises:
        SettingsError: it is neither.
    """
    if text == "unbounded":
        return UNBOUNDED
    try:
        capacity = int(text)
    except ValueError:
        capacity = 0
    if not 0 < capacity <= UNBOUNDED:
        raise SettingsError(f"capacity must be a number of places or `unbounded`, not {text!r}")
    return capacity


def parse_burst(text: str) -> Burst:
    """Reads `START,SECONDS,FACTOR`.

    Raises:
        SettingsError: it has another form.
    """
    try:
        start, duration, factor = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"a burst is START,SECONDS,FACTOR, not {text!r}") from None
    return Burst(start, duration, factor)
