"""What stands around the table: the lines on top, the chosen device, the help. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from edge_agent.cli.terminal import safe_text
from edge_agent.cli.watch.top.cells import BAD, BUSY, GOOD, QUIET, STATE_STYLE, load_style, margin_style
from edge_agent.cli.watch.top.drawing import duration, graph
from edge_agent.cli.watch.top.model import DeviceRow, Snapshot

LOST_AFTER_S = 1.0  # a reconnect within a second is nobody's concern
_GAP = 2
_LABEL = 5

HELP = """\
[b]Keys[/b]
  ↑ ↓  click     choose a device
  Enter          show or hide the chosen device
  s, S           order by the next column; the other way round
  /              show only what matches: device, model or state
  Esc            show all again
  space, p       pause and go on
  t              light or dark
  q, Ctrl-C      leave

[b]Figures[/b]
  health   ok, unable (to infer), or the parts that are not well
  queue    items waiting and running, of the places there are
  waiting  items waiting, over the last samples
  ρ        share of time the engine was busy in the last interval
  load     work offered per second, accepted or not
  margin   what is left of it below 1; under 0 queues grow
  α        mean service time of an inference
  acc rej fail exp done   items accepted, refused, failed, expired, completed
  grey     the last figures of a device that is gone
"""


def heading(mesh: str, broker: str, snapshot: Snapshot, *, paused: bool) -> Text:
    """The first line: which mesh, and whether what is shown is true now."""
    totals = snapshot.totals()
    text = Text(no_wrap=True, overflow="ellipsis")
    if snapshot.lost_for_s is not None and snapshot.lost_for_s >= LOST_AFTER_S:
        text.append(f"✗ no connection to the broker for {snapshot.lost_for_s:.0f} s, trying again  ", style=BAD)
    if paused:
        text.append("‖ paused  ", style=BUSY)
    text.append(mesh, style="bold")
    text.append(f"  {totals.online} of {totals.devices} online  ", style=GOOD if totals.online else BAD)
    if totals.unable:
        text.append(f"{totals.unable} cannot infer  ", style=BAD)
    if totals.synthetic:
        text.append(f"{totals.synthetic} synthetic, no language model  ", style=BUSY)
    text.append(broker, style=QUIET)
    return text


def totals_line(snapshot: Snapshot) -> Text:
    """The second line: the mesh as a whole, measured beside predicted."""
    totals = snapshot.totals()
    text = Text("load ", no_wrap=True, overflow="ellipsis")
    text.append(f"{totals.load_mean:.2f}", style=load_style(totals.load_mean))
    text.append(f" (max {totals.load_max:.2f})", style=load_style(totals.load_max))
    text.append(f"  waiting {totals.requests_waiting_mean:.1f}")
    text.append(f" predicted ≈{totals.requests_waiting_predicted:.1f}", style=QUIET)
    text.append(f"  rejected {totals.rejected}", style=BAD if totals.rejected else "")
    text.append(f"  expired {totals.expired}", style=BUSY if totals.expired else "")
    text.append(f"  failed {totals.failed}", style=BAD if totals.failed else "")
    text.append(f"  {totals.arrival_rate_hz:.2f} prompts/s  {totals.sessions_active} sessions")
    return text


def alerts_line(snapshot: Snapshot) -> Text:
    """The third line: what needs somebody's eyes."""
    alerts = snapshot.alerts()
    text = Text(no_wrap=True, overflow="ellipsis")
    if not alerts:
        return text.append("no alerts", style=QUIET)
    text.append(f"{len(alerts)} alert{'s' if len(alerts) > 1 else ''}: ", style=BAD)
    for number, alert in enumerate(alerts):
        text.append(" · " if number else "", style=QUIET)
        text.append(f"{alert.device_id} {safe_text(alert.text)}", style=BAD if alert.severe else BUSY)
    return text


def detail(row: DeviceRow, width: int, height: int) -> Text:
    """The chosen device: its figures, and graphs of the last minutes below them, `height` lines in all."""
    troubles = [
        Text(safe_text(line), style=BUSY if row.view.able else BAD, no_wrap=True, overflow="ellipsis")
        for line in (row.view.troubles() if row.present else ())
    ]
    lines = [_who(row), *troubles, *_figures(row)]
    left = height - len(lines) - 1
    if left >= 2 and row.samples:
        lines += _graphs(row, width, left)
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines[:height])


def _who(row: DeviceRow) -> Text:
    sign, style = STATE_STYLE[row.state]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{sign} {row.device_id}", style=style)
    text.append(f" {row.state.value}  ", style=style)
    text.append(safe_text(row.model), style=BUSY if row.view.synthetic else "bold")
    if row.view.synthetic:
        text.append(" (no language model)", style=BUSY)
    if (presence := row.view.presence) is not None:
        text.append(f"  home {safe_text(presence.entry.home_broker)}", style=QUIET)
        text.append(f"  version {safe_text(presence.version)}", style=QUIET)
    return text


def _figures(row: DeviceRow) -> list[Text]:
    status = row.status
    if status is None:
        return [Text("it has not reported any figures yet", style=QUIET)]
    plain = "" if row.present else QUIET
    load = Text("load ", style=plain, no_wrap=True, overflow="ellipsis")
    load.append(f"{status.offered_load:.2f}", style=load_style(status.offered_load))
    load.append("  margin ")
    load.append(f"{status.stability_margin:+.2f}", style=margin_style(status.stability_margin))
    load.append(
        f"  ρ {status.utilisation:.2f}  α {duration(status.service_time_s_mean)}, C² {status.service_time_scv:.2f}"
    )
    if status.slots > 1:
        load.append(f"  running {status.requests_running}/{status.slots}, all do {status.service_rate_hz:.2f} items/s")
    load.append(f"  waiting {status.requests_waiting_mean:.2f}")
    load.append(f" predicted ≈{status.requests_waiting_predicted:.2f}", style=QUIET)
    load.append(f"  {status.arrival_rate_hz:.2f} prompts/s")
    counts = (
        f"{status.accepted} accepted  {status.completed} done  {status.rejected} rejected  {status.expired} expired  "
        f"{status.sessions_active} sessions  {status.peers_alive} peers  "
        f"{status.cancelled} cancelled  {status.failed} failed"
    )
    return [load, Text(counts, style=plain, no_wrap=True, overflow="ellipsis")]


def _graphs(row: DeviceRow, width: int, height: int) -> list[Text]:
    """Two graphs beside each other under their headings: items waiting, and the load with where it becomes too much."""
    one = (width - _GAP) // 2
    waiting = [float(sample.requests_waiting) for sample in row.samples]
    load = [sample.offered_load for sample in row.samples]
    left = _graph(f"waiting, {_span(row)}", waiting, one, height, max([1.0, *waiting]), 0)
    right = _graph("load", load, one, height, max([1.0, *load]), 2)
    gap = Text(" " * _GAP)
    return [Text.assemble(*pair[0:1], gap, *pair[1:2]) for pair in zip(left, right, strict=True)]


def _graph(name: str, values: Sequence[float], width: int, height: int, top: float, digits: int) -> list[Text]:
    room = max(1, width - _LABEL - 1)
    style = BAD if digits and values[-1] >= 1.0 else "cyan"
    lines = [Text(name.ljust(width), style="bold")]
    for number, line in enumerate(graph(values, room, height, top)):
        label = f"{top:.{digits}f}" if number == 0 else f"{0:.{digits}f}" if number == height - 1 else ""
        lines.append(Text.assemble((label.rjust(_LABEL), QUIET), " ", (line, style)))
    return lines


def _span(row: DeviceRow) -> str:
    seconds = row.samples[-1].at - row.samples[0].at
    return f"last {seconds:.0f} s" if seconds < 120.0 else f"last {seconds / 60.0:.0f} min"
