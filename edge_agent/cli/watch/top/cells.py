"""The columns of the table of devices: what each shows, how wide it is, and which there is room for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from rich.text import Text

from edge_agent.cli.terminal import safe_text
from edge_agent.cli.watch.top.drawing import bar, compact, duration, sparkline
from edge_agent.cli.watch.top.model import LOAD_HIGH, QUEUE_ALERT_SHARE, DeviceRow, Order, SortKey
from edge_agent.client.roster import DeviceState
from edge_agent.core.messages import DeviceStatus

GOOD, BUSY, BAD, QUIET = "green", "yellow", "bold red", "bright_black"
STATE_STYLE = {
    DeviceState.ONLINE: ("●", GOOD),
    DeviceState.SILENT: ("◌", BUSY),
    DeviceState.STOPPED: ("○", QUIET),
    DeviceState.OFFLINE: ("✗", BAD),
    DeviceState.UNKNOWN: ("?", QUIET),
}
_QUEUE_BAR = 8
_SCROLLBAR = 2  # columns of the terminal that the table's own scroll bar may take


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column. `rank` says who gives way where the terminal is narrow: the highest first."""

    name: str
    width: int
    rank: int
    draw: Callable[[DeviceRow, int], Text]
    sort: SortKey | None = None
    right: bool = False

    def title(self, order: Order) -> Text:
        """Its heading, with an arrow where the rows are ordered by it."""
        arrow = ("▼" if order.downwards else "▲") if order.key is self.sort else ""
        text = Text(f"{self.name}{arrow}", style="bold")
        text.truncate(self.width)
        if self.right:
            text.align("right", self.width)
        return text

    def cell(self, row: DeviceRow) -> Text:
        """What it shows of a device."""
        text = self.draw(row, self.width)
        text.truncate(self.width, overflow="ellipsis")
        if self.right:
            text.align("right", self.width)
        return text


def columns_for(width: int) -> list[Column]:
    """The columns that fit into a terminal of this width, in their order."""
    chosen: list[Column] = []
    left = width - _SCROLLBAR
    for column in sorted(_COLUMNS, key=lambda column: column.rank):
        if column.width + 1 > left:
            break
        chosen.append(column)
        left -= column.width + 1
    return [column for column in _COLUMNS if column in chosen]


def _number(
    pick: Callable[[DeviceStatus], str], style: Callable[[DeviceStatus], str] = lambda _: ""
) -> Callable[[DeviceRow, int], Text]:
    """Draws a figure; of a device that is gone it is its last one, greyed."""

    def draw(row: DeviceRow, _width: int) -> Text:
        if row.status is None:
            return Text("–", style=QUIET)
        return Text(pick(row.status), style=style(row.status) if row.present else QUIET)

    return draw


def _device(row: DeviceRow, _width: int) -> Text:
    return Text(row.device_id, style="bold cyan" if row.present else QUIET)


def _state(row: DeviceRow, _width: int) -> Text:
    sign, style = STATE_STYLE[row.state]
    return Text(f"{sign} {row.state.value}", style=style)


def _health(row: DeviceRow, _width: int) -> Text:
    if not row.present:
        return Text("–", style=QUIET)
    health = row.view.health
    return Text(health, style=GOOD if health == "ok" else BUSY if row.view.able else BAD)


def _model(row: DeviceRow, _width: int) -> Text:
    return Text(safe_text(row.model), style=BUSY if row.view.synthetic else "")


def _queue(row: DeviceRow, width: int) -> Text:
    status = row.status
    if status is None:
        return Text("–", style=QUIET)
    taken = status.requests_waiting + status.requests_running
    style = GOOD if taken <= QUEUE_ALERT_SHARE * status.queue_capacity else BAD
    text = Text(bar(taken, status.queue_capacity, _QUEUE_BAR), style=style if row.present else QUIET)
    text.append(f"{taken}/{status.queue_capacity}".rjust(width - _QUEUE_BAR), style="" if row.present else QUIET)
    return text


def _waiting(row: DeviceRow, width: int) -> Text:
    values = [float(sample.requests_waiting) for sample in row.samples]
    return Text(sparkline(values, width, max([1.0, *values[-width:]])), style="cyan" if row.present else QUIET)


def load_style(load: float) -> str:
    """The colour of a load."""
    return BAD if load >= 1.0 else BUSY if load >= LOAD_HIGH else GOOD


def margin_style(margin: float) -> str:
    """The colour of a stability margin."""
    return BAD if margin < 0.0 else BUSY if margin < 1.0 - LOAD_HIGH else GOOD


_COLUMNS = (
    Column("device", 14, 0, _device, SortKey.DEVICE),
    Column("state", 9, 1, _state, SortKey.STATE),
    Column("health", 9, 4, _health, SortKey.HEALTH),
    Column("model", 26, 10, _model),
    Column("queue", 14, 2, _queue, SortKey.WAITING),
    Column("waiting", 10, 6, _waiting),
    Column("ρ", 5, 3, _number(lambda s: f"{s.utilisation:.2f}"), None, right=True),
    Column(
        "load",
        5,
        7,
        _number(lambda s: f"{s.offered_load:.2f}", lambda s: load_style(s.offered_load)),
        SortKey.LOAD,
        right=True,
    ),
    Column(
        "margin",
        7,
        5,
        _number(lambda s: f"{s.stability_margin:+.2f}", lambda s: margin_style(s.stability_margin)),
        SortKey.MARGIN,
        right=True,
    ),
    Column("α", 6, 13, _number(lambda s: duration(s.service_time_s_mean)), SortKey.SERVICE, right=True),
    Column("sess", 5, 11, _number(lambda s: compact(s.sessions_active)), SortKey.SESSIONS, right=True),
    Column("acc", 5, 12, _number(lambda s: compact(s.accepted)), right=True),
    Column(
        "rej",
        5,
        8,
        _number(lambda s: compact(s.rejected), lambda s: BAD if s.rejected else ""),
        SortKey.REJECTED,
        right=True,
    ),
    Column(
        "fail",
        5,
        9,
        _number(lambda s: compact(s.failed), lambda s: BAD if s.failed else ""),
        SortKey.FAILED,
        right=True,
    ),
    Column("exp", 5, 14, _number(lambda s: compact(s.expired), lambda s: BUSY if s.expired else ""), right=True),
    Column("done", 6, 15, _number(lambda s: compact(s.completed)), right=True),
    Column("peers", 5, 16, _number(lambda s: compact(s.peers_alive)), right=True),
)
