"""The table of devices: state, health, queue, load, totals; below it what is wrong with whom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_agent.cli.terminal import safe_text
from edge_agent.client.roster import DeviceState, DeviceView
from edge_agent.core.messages import DeviceStatus

_STATE_STYLE = {
    DeviceState.ONLINE: ("●", "good"),
    DeviceState.SILENT: ("◌", "busy"),
    DeviceState.STOPPED: ("○", "quiet"),
    DeviceState.OFFLINE: ("✗", "bad"),
    DeviceState.UNKNOWN: ("?", "quiet"),
}
_UTILISATION_HIGH = 0.9  # queues grow steeply beyond: ρ/(1-ρ) is 9 there
MODEL_WIDTH_MAX = 28
HEALTH_WIDTH_MAX = 12  # "unable", or a part; all of it stands below the table
TROUBLES_MAX = 12  # lines below the table: a mesh in which all is broken still shows its devices
_NONE = Text("–", style="quiet")


def devices_table(views: Sequence[DeviceView], now: float, *, title: str = "") -> Table:
    """Rows in the order of the device ids; figures of a device that is gone are its last ones, greyed."""
    table = Table(
        title=title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,  # the box has a space between columns; with more, 80 columns leave none for the model
        pad_edge=False,
        header_style="label",
        caption=_troubles(views, now),
        caption_justify="left",
    )
    table.add_column("device", no_wrap=True, style="name")
    table.add_column("state", no_wrap=True)
    table.add_column("health", no_wrap=True, overflow="ellipsis", max_width=HEALTH_WIDTH_MAX)
    table.add_column("model", overflow="ellipsis", max_width=MODEL_WIDTH_MAX)  # the one that gives way when it is tight
    for name in ("wait", "run", "ρ", "margin", "sess", "done", "rej", "fail"):
        table.add_column(name, justify="right", no_wrap=True)
    for view in views:
        state = view.state(now)
        alive = state in (DeviceState.ONLINE, DeviceState.SILENT)
        sign, style = _STATE_STYLE[state]
        figures = _figures(view.status, alive) if view.status is not None else [_NONE] * 8
        said = Text(f"{sign} {state.value}", style=style)
        table.add_row(view.device_id, said, _health(view, alive), _model(view), *figures)
    return table


def _health(view: DeviceView, alive: bool) -> Text:
    if not alive:
        return _NONE
    return Text(view.health, style="good" if view.health == "ok" else "busy" if view.able else "bad")


def _troubles(views: Sequence[DeviceView], now: float) -> Text | None:
    """A line for each thing that is wrong with a device that is there."""
    there = [view for view in views if view.state(now) in (DeviceState.ONLINE, DeviceState.SILENT)]
    lines = [(view, line) for view in there for line in view.troubles()]
    if not lines:
        return None
    text = Text("\n").join(
        Text(f"{view.device_id}: {safe_text(line)}", style="busy" if view.able else "bad")
        for view, line in lines[:TROUBLES_MAX]
    )
    return text if len(lines) <= TROUBLES_MAX else text.append(f"\nand {len(lines) - TROUBLES_MAX} more", style="quiet")


def _model(view: DeviceView) -> Text:
    if view.synthetic and not view.model.startswith("synthetic"):
        return Text(f"synthetic:{view.model}", style="busy")
    return Text(view.model, style="busy" if view.synthetic else "")


def _figures(status: DeviceStatus, alive: bool) -> list[Text]:
    busy = "busy" if alive else "quiet"
    plain = "" if alive else "quiet"
    high = status.utilisation >= _UTILISATION_HIGH
    return [
        Text(str(status.requests_waiting), style=busy if status.requests_waiting else plain),
        Text(_running(status), style=plain),
        Text(f"{status.utilisation:.2f}", style=busy if high else plain),
        Text(f"{status.stability_margin:+.2f}", style="bad" if status.stability_margin < 0 and alive else plain),
        Text(str(status.sessions_active), style=plain),
        Text(str(status.completed), style=plain),
        Text(str(status.rejected), style="bad" if status.rejected and alive else plain),
        Text(str(status.failed), style="bad" if status.failed and alive else plain),
    ]


def _running(status: DeviceStatus) -> str:
    """How many run, and of how many that could where there is more than one."""
    return str(status.requests_running) if status.slots == 1 else f"{status.requests_running}/{status.slots}"
