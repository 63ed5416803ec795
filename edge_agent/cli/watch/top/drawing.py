"""Figures as characters: bars, sparklines, graphs. Pure. All of it is blocks that every terminal font has."""

from __future__ import annotations

from collections.abc import Sequence

_UPWARDS = " ▁▂▃▄▅▆▇█"
_SIDEWAYS = " ▏▎▍▌▋▊▉█"
_STEPS = len(_UPWARDS) - 1


def bar(value: float, top: float, width: int) -> str:
    """A bar of `width` characters that is full at `top`."""
    steps = round(_share(value, top) * width * _STEPS)
    if value > 0.0:
        steps = max(1, steps)  # something is never drawn as nothing
    full, part = divmod(steps, _STEPS)
    return (_SIDEWAYS[-1] * full + (_SIDEWAYS[part] if part else "")).ljust(width)


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last `width` values, the newest at the right; zero is a thin line, no value a blank."""
    shown = values[-width:] if width > 0 else ()
    return "".join(_UPWARDS[max(1, round(_share(value, top) * _STEPS))] for value in shown).rjust(width)


def graph(values: Sequence[float], width: int, height: int, top: float) -> list[str]:
    """The last `width` values as columns of a drawing of `height` lines, uppermost line first."""
    shown = values[-width:] if width > 0 else ()
    columns = [max(1, round(_share(value, top) * height * _STEPS)) for value in shown]
    lines = []
    for line in range(height - 1, -1, -1):
        row = "".join(_UPWARDS[min(_STEPS, max(0, steps - line * _STEPS))] for steps in columns)
        lines.append(row.rjust(width))
    return lines


def compact(count: float) -> str:
    """A number in at most five characters, such as "12.3k"."""
    if count < 10_000:
        return f"{count:.0f}"
    return f"{count / 1000:.3g}k" if count < 999_500 else f"{count / 1_000_000:.3g}M"


def duration(seconds: float) -> str:
    """A service time in at most five characters, such as "320ms"."""
    if seconds <= 0.0:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.3g}s" if seconds < 99.95 else f"{seconds:.0f}s"


def _share(value: float, top: float) -> float:
    return min(1.0, max(0.0, value / top)) if top > 0.0 else 0.0
