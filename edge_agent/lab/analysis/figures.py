"""Figures of curves and points with error bars, to PNG, SVG or HTML. matplotlib is optional and loaded when drawing."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from edge_agent.core.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".html")
_PANEL_INCHES = (4.6, 3.4)
_DPI = 110
_COLOURS = ("#1f5fa8", "#c8571b", "#2f8f4e", "#8a4fae", "#b0902b", "#3a9a9a", "#a03050")


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """A series. `half_widths` makes error bars; `predicted` draws a dashed line without points.

    colour: number of the colour; the curves of measured and predicted figures of one thing share theirs.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    half_widths: Sequence[float] = ()
    predicted: bool = False
    colour: int = 0


@final
@dataclass(frozen=True, slots=True)
class Panel:
    """A plot. `y_max` cuts the axis where a prediction goes to infinity; `verticals` marks places on the x axis."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    y_max: float | None = None
    log_y: bool = False
    verticals: Sequence[float] = ()


def require_plotting() -> None:
    """Call it before long work whose result is to be drawn.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401  # only whether it is there
    except ImportError:
        raise SettingsError("plots need matplotlib: pip install 'moamesh[lab]'") from None


def check_target(path: Path) -> None:
    """Checks before long work that a figure can be drawn to `path`.

    Raises:
        SettingsError: no such format, no such folder, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"a plot is written to a file ending in {', '.join(FORMATS)}, not {path.name}")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"cannot write {path}: no folder {path.absolute().parent}")
    require_plotting()


def write_figure(path: Path, panels: Sequence[Panel], *, columns: int = 3, title: str = "") -> None:
    """Draws panels in rows of `columns`; the suffix of `path` says the format. HTML holds the SVG itself.

    Raises:
        SettingsError: see `check_target`, or the file cannot be written.
    """
    check_target(path)
    try:
        if path.suffix.lower() == ".html":
            head = '<!doctype html><meta charset="utf-8"><title>moamesh</title>\n'
            path.write_text(head + svg(panels, columns=columns, title=title), encoding="utf-8")
        elif path.suffix.lower() == ".svg":
            path.write_text(svg(panels, columns=columns, title=title), encoding="utf-8")
        else:
            _draw(panels, columns, title).savefig(path, dpi=_DPI)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from None


def svg(panels: Sequence[Panel], *, columns: int = 3, title: str = "") -> str:
    """Returns the figure as an `<svg>` element, the same for the same panels."""
    import matplotlib

    drawn = io.StringIO()
    # text stays text: a third of the size, and it can be searched
    with matplotlib.rc_context({"svg.hashsalt": "moamesh", "svg.fonttype": "none"}):
        _draw(panels, columns, title).savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _draw(panels: Sequence[Panel], columns: int, title: str) -> Figure:
    from matplotlib.figure import Figure

    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, layout="constrained")  # no pyplot: no global state, no display
    if title:
        figure.suptitle(title)
    for at, panel in enumerate(panels):
        _draw_panel(figure.add_subplot(rows, columns, at + 1), panel)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for curve in panel.curves:
        points = [
            (x, y, half)
            for x, y, half in zip(curve.x, curve.y, curve.half_widths or [0.0] * len(curve.x), strict=True)
            if math.isfinite(y)
        ]
        if not points:
            continue
        xs, ys, halves = zip(*points, strict=True)
        colour = _COLOURS[curve.colour % len(_COLOURS)]
        if curve.predicted:
            axes.plot(xs, ys, "--", color=colour, label=curve.label, linewidth=1.3)
        elif curve.half_widths:
            bars = [half if math.isfinite(half) else 0.0 for half in halves]
            axes.errorbar(xs, ys, bars, fmt="o", color=colour, label=curve.label, markersize=4, capsize=2)
        else:
            axes.plot(xs, ys, "-", color=colour, label=curve.label, linewidth=1.1)
    for x in panel.verticals:
        axes.axvline(x, color="#888888", linewidth=0.8)
    if panel.log_y:
        axes.set_yscale("log")
    if panel.y_max is not None:
        axes.set_ylim(top=panel.y_max)
    if not panel.log_y:
        axes.set_ylim(bottom=0.0)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if all(float(x).is_integer() for curve in panel.curves for x in curve.x):
        axes.locator_params(axis="x", integer=True)  # there is no device 1.5
    axes.grid(alpha=0.25)
    if any(curve.label for curve in panel.curves):
        axes.legend(fontsize="small", framealpha=0.8)
