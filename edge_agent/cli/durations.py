"""Durations as people write them, and points in time as programs read them."""

from __future__ import annotations

import datetime
import re

from edge_agent.core.errors import SettingsError

_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """Returns seconds: `90`, `90s`, `1.5m`, `1h`, `2d`.

    Raises:
        SettingsError: it has another form, or is 0.
    """
    match = _FORM.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0.0:
        raise SettingsError(f"a duration is a number above 0 with s, m, h or d, such as 30m, not {text!r}")
    return seconds


def iso(timestamp: float | None) -> str | None:
    """Returns seconds since 1970 as ISO 8601, for JSON."""
    return None if timestamp is None else datetime.datetime.fromtimestamp(timestamp, datetime.UTC).isoformat()
