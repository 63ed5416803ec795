"""A run as one HTML file that needs nothing else: the figures in a table, the waiting items over time as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _MARGIN = 720, 240, 40

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 46rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .25rem .75rem .25rem 0 }}
td {{ font-variant-numeric: tabular-nums }} tr {{ border-bottom: 1px solid #ddd }} svg {{ width: 100%; height: auto }}
</style></head><body><h1>{title}</h1><p>{subtitle}</p>
<table><thead><tr><th></th><th>measured</th><th>predicted</th></tr></thead><tbody>{rows}</tbody></table>
<h2>Items waiting at a device, mean over devices</h2>{drawing}</body></html>
"""


def page(
    title: str, subtitle: str, rows: Sequence[tuple[str, str, str]], series: Sequence[tuple[float, float]], level: float
) -> str:
    """Returns the file's text. `series` is (seconds, waiting items); `level` the predicted mean, drawn if finite."""
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(measured)}</td><td>{escape(predicted)}</td></tr>"
        for name, measured, predicted in rows
    )
    return _PAGE.format(title=escape(title), subtitle=escape(subtitle), rows=table, drawing=_drawing(series, level))


def _drawing(series: Sequence[tuple[float, float]], level: float) -> str:
    if not series:
        return "<p>Too few prompts for a drawing.</p>"
    last = max(series[-1][0], 1e-9)
    drawn_level = level if level < float("inf") else 0.0
    top = max(*(value for _, value in series), drawn_level, 1e-9) * 1.1

    def place(at: float, value: float) -> str:
        x = _MARGIN + at / last * (_WIDTH - 2 * _MARGIN)
        return f"{x:.1f},{_HEIGHT - _MARGIN - value / top * (_HEIGHT - 2 * _MARGIN):.1f}"

    line = " ".join(place(at, value) for at, value in series)
    expected = f"{place(0.0, drawn_level)} {place(last, drawn_level)}" if drawn_level else ""
    axis = _HEIGHT - _MARGIN
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="waiting items over time">'
        f'<polyline points="{_MARGIN},{axis} {_WIDTH - _MARGIN},{axis}" stroke="#999"/>'
        f'<polyline points="{expected}" stroke="#c60" stroke-dasharray="6 4"/>'
        f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="1.5"/>'
        f'<text x="{_MARGIN}" y="{_HEIGHT - 12}" font-size="12">0 s</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 12}" font-size="12" text-anchor="end">{last:.0f} s</text>'
        f'<text x="{_MARGIN}" y="{_MARGIN - 8}" font-size="12">{top:.2f} items; dashed: predicted mean</text></svg>'
    )
