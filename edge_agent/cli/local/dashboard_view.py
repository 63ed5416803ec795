"""The live view of a run: devices on top, below them a panel for each session with its tokens streaming in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from edge_agent.cli.local.board import Board, SessionRow
from edge_agent.cli.watch.devices_view import devices_table
from edge_agent.client.roster import DeviceView

TWO_COLUMNS_FROM = 100  # characters: narrower, a panel of half the width breaks every few words
PANELS_MAX = 8  # sessions shown at once: those under way first
PANEL_LINES_MIN = 1
PANEL_LINES_MAX = 8
_PANEL_FRAME = 2
_TABLE_FRAME = 5


def dashboard(console: Console, board: Board, views: Sequence[DeviceView], now: float, note: str) -> Group:
    """Fits the console: what does not fit is left out, not scrolled."""
    width, height = console.size
    rows = _shown(board.rows)
    across = 2 if width >= TWO_COLUMNS_FROM and len(rows) > 1 else 1
    panel_rows = max(1, -(-len(rows) // across))
    lines = (height - len(views) - _TABLE_FRAME - 1) // panel_rows - _PANEL_FRAME
    lines = min(PANEL_LINES_MAX, max(PANEL_LINES_MIN, lines))
    panel_width = width // across - (1 if across == 2 else 0)
    panels = [_panel(console, row, panel_width, lines) for row in rows]
    body: RenderableType = Columns(panels, padding=(0, 1), width=panel_width) if across == 2 else Group(*panels)
    return Group(devices_table(views, now), body, Text(note, style="quiet", no_wrap=True, overflow="ellipsis"))


def _shown(rows: Sequence[SessionRow]) -> list[SessionRow]:
    open_rows = [row for row in rows if row.result is None][:PANELS_MAX]
    ended = [row for row in rows if row.result is not None]
    room = PANELS_MAX - len(open_rows)
    kept = {row.job.number for row in (*open_rows, *(ended[-room:] if room else ()))}
    return [row for row in rows if row.job.number in kept]


def _panel(console: Console, row: SessionRow, width: int, lines: int) -> Panel:
    title = Text(row.job.device_id, style="name")
    title.append(f"  {row.job.prompt}", style="default")
    title.truncate(width - 6, overflow="ellipsis")
    style = "quiet" if row.result is None else "good" if row.result.answered else "bad"
    # nothing streams before the last layer: until then it helps to read what was asked
    asked = Text(row.job.prompt, style="quiet")
    text = _tail(console, row.text, width - 4, lines) if row.text else asked
    subtitle = Text(row.stage if row.result is None else _ending(row), style=style)
    return Panel(
        text,
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        border_style=style,
        width=width,
        height=lines + _PANEL_FRAME,
    )


def _ending(row: SessionRow) -> str:
    return f"{row.stage} after {row.result.latency_s:.1f} s" if row.result is not None else row.stage


def _tail(console: Console, text: str, width: int, lines: int) -> Text:
    """The last lines of a growing text, as they will be wrapped."""
    return Text("\n").join(Text(text.strip()).wrap(console, width)[-lines:])
