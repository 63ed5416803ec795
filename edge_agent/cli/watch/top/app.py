"""The screen of `moamesh top`. The only file that knows Textual: it asks `model` what there is, and shows it."""

from __future__ import annotations

import os
import time
from typing import ClassVar, Literal

from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.watch.top import panes
from edge_agent.cli.watch.top.cells import Column, columns_for
from edge_agent.cli.watch.top.model import DeviceRow, History, Order, Snapshot, SortKey
from edge_agent.client import MeshClient
from edge_agent.core.messages import DeviceStatus, Presence

REFRESH_S = 0.5  # devices tell their figures every second at the most; a killed one is shown at once all the same
DETAIL_LINES = 11  # of the pane where room is short: three lines of figures, headings, and graphs of six lines
DETAIL_LINES_MAX = 24  # higher graphs show no more
_OTHER_LINES = 5  # three lines on top, the table's headings, the keys
DETAIL_FROM_LINES = 22  # in a lower terminal the pane is hidden at first: the table comes first
FILTER_CHARACTERS_MAX = 64

Theme = Literal["auto", "dark", "light"]


def is_light_terminal() -> bool:
    """Whether the terminal says that its background is light. Many say nothing, and most of those are dark."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return background in ("7", "15")


class HelpScreen(ModalScreen[None]):
    """The keys, and what the figures mean."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Static { width: auto; max-width: 100%; height: auto; max-height: 100%; padding: 0 2;
                          border: round $primary; background: $surface; overflow-y: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """The one text."""
        yield Static(panes.HELP)


class TopApp(App[None]):
    """Shows the mesh that `client` watches, until the user leaves.

    Args:
        client: connected; the caller closes it after the app has ended.
        address: what to call the mesh and its broker.
        theme: "auto" asks the terminal.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #heading, #totals, #alerts { height: 1; padding: 0 1 0 0; }
    #devices { height: 1fr; }
    #devices > .datatable--cursor { background: $primary 25%; }
    #heading, #totals, #alerts, #detail { text-wrap: nowrap; text-overflow: ellipsis; }
    #detail { border-top: solid $primary 40%; }
    #filter { height: 1; border: none; display: none; padding: 0; }
    #empty { height: 1fr; display: none; color: $text-muted; content-align: center middle; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "Leave", key_display="q"),
        Binding("s", "sort", "Sort"),
        Binding("S", "flip", "Reverse", show=False),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "clear_filter", "Show all", show=False),
        Binding("space,p", "pause", "Pause", key_display="space"),
        Binding("d", "detail", "Detail", key_display="enter"),  # the table takes Enter itself, and tells of it
        Binding("t", "theme", "Theme", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    def __init__(self, client: MeshClient, address: MeshAddress, theme: Theme = "auto") -> None:
        super().__init__()
        self._client = client
        self._address = address
        self._light = is_light_terminal() if theme == "auto" else theme == "light"
        self._history = History()
        self._order = Order()
        self._wanted = ""
        self._paused = False
        self._shown = Snapshot(time.monotonic())
        self._columns: list[Column] = []
        self._titles: list[str] = []
        self._rows: list[DeviceRow] = []
        # Kept here and not looked up: a look-up finds only what is on the screen in front, which may be the help.
        self._heading, self._totals, self._alerts = Static(id="heading"), Static(id="totals"), Static(id="alerts")
        self._table: DataTable[Text] = DataTable(
            id="devices", cursor_type="row", cell_padding=0, cursor_foreground_priority="renderable"
        )
        self._empty, self._detail = Static(id="empty"), Static(id="detail")
        self._filter = Input(
            id="filter", placeholder="device, model or state", max_length=FILTER_CHARACTERS_MAX, compact=True
        )

    # --- life -------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Three lines, the table, the chosen device, the keys."""
        yield from (self._heading, self._totals, self._alerts, self._table, self._empty, self._detail, self._filter)
        yield Footer()

    async def on_mount(self) -> None:
        """Begins to watch."""
        self.theme = "textual-light" if self._light else "textual-dark"
        self._detail.display = self.size.height >= DETAIL_FROM_LINES
        await self._client.start_watching(self._take)
        self._table.focus()
        self.set_interval(REFRESH_S, self._tick)
        self._tick()

    def _take(self, message: Presence | DeviceStatus, retained: bool) -> None:
        if isinstance(message, DeviceStatus) and not retained:
            self._history.take(message, time.monotonic())

    def _tick(self) -> None:
        snapshot = self._history.snapshot(self._client.roster.all(), time.monotonic(), connected=self._client.connected)
        if not self._paused:
            self._shown = snapshot
        self._draw()

    # --- keys -------------------------------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Orders by the next column."""
        self._order = Order(self._order.key.next)
        self._draw()

    def action_flip(self) -> None:
        """Orders the other way round."""
        self._order = Order(self._order.key, not self._order.flipped)
        self._draw()

    def action_pause(self) -> None:
        """Keeps what is shown, or goes on. Figures are still gathered meanwhile."""
        self._paused = not self._paused
        self._tick()

    def action_filter(self) -> None:
        """Asks what to show."""
        self._filter.display = True
        self._filter.focus()

    def action_clear_filter(self) -> None:
        """Shows all again."""
        self._filter.value = ""
        self._filter.display = False
        self._table.focus()

    def action_detail(self) -> None:
        """Shows or hides the chosen device."""
        self._detail.display = not self._detail.display
        self.call_after_refresh(self._draw)

    def action_theme(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def action_help(self) -> None:
        """Shows the keys."""
        self.push_screen(HelpScreen())

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        self._draw()

    @on(Input.Submitted, "#filter")
    def _filter_submitted(self) -> None:
        self._filter.display = bool(self._wanted)
        self._table.focus()

    @on(DataTable.HeaderSelected, "#devices")
    def _header_clicked(self, event: DataTable.HeaderSelected) -> None:
        key = self._columns[event.column_index].sort
        if key is not None:
            self._order = Order(key, not self._order.flipped if key is self._order.key else False)
            self._draw()

    @on(DataTable.RowHighlighted, "#devices")
    def _row_chosen(self) -> None:
        self._draw_detail()

    @on(DataTable.RowSelected, "#devices")
    def _row_entered(self) -> None:
        self.action_detail()

    def on_resize(self, _event: events.Resize) -> None:
        """Another width has room for other columns."""
        self.call_after_refresh(self._draw)

    # --- drawing ----------------------------------------------------------------------------------------------------

    @property
    def sort_key(self) -> SortKey:
        """What the rows are ordered by now."""
        return self._order.key

    @property
    def device_ids(self) -> list[str]:
        """The devices in the table, from top to bottom."""
        return [row.device_id for row in self._rows]

    def _draw(self) -> None:
        if not self._table.is_mounted:
            return
        snapshot = self._shown
        heading = panes.heading(self._address.mesh, self._address.broker, snapshot, paused=self._paused)
        self._heading.update(heading)
        self._totals.update(panes.totals_line(snapshot))
        self._alerts.update(panes.alerts_line(snapshot))
        self._draw_table(snapshot.chosen(self._order, self._wanted))
        self._draw_empty()
        self._draw_detail()

    def _draw_table(self, rows: list[DeviceRow]) -> None:
        """Changes cells where the rows are the same, and builds the table anew only where they are not."""
        table = self._table
        columns = columns_for(self.size.width)
        titles = [column.title(self._order).plain for column in columns]
        same_rows = [row.device_id for row in rows] == self.device_ids
        if titles != self._titles or not same_rows:
            chosen = self._chosen_id()
            table.clear(columns=titles != self._titles)
            if titles != self._titles:
                for column in columns:
                    table.add_column(column.title(self._order), width=column.width + 1, key=column.name)
            self._columns, self._titles, self._rows = columns, titles, rows
            for row in rows:
                table.add_row(*(column.cell(row) for column in columns), key=row.device_id)
            self._choose(chosen)
            return
        self._rows = rows
        for line, row in enumerate(rows):
            for place, column in enumerate(columns):
                cell = column.cell(row)
                if not _same(table.get_cell_at(Coordinate(line, place)), cell):
                    table.update_cell_at(Coordinate(line, place), cell)

    def _draw_empty(self) -> None:
        nothing = f"nothing matches {self._wanted!r}; Esc shows all" if self._wanted else "no device has reported yet"
        self._empty.update(Text(nothing))
        self._empty.display = not self._rows
        self._table.display = bool(self._rows)

    def _draw_detail(self) -> None:
        pane = self._detail
        if not pane.display:
            return
        free = self.size.height - _OTHER_LINES - len(self._rows) - 1
        lines = min(max(DETAIL_LINES, free), DETAIL_LINES_MAX, self.size.height // 2 + self.size.height // 6)
        pane.styles.height = lines
        row = next((row for row in self._rows if row.device_id == self._chosen_id()), None)
        pane.update(panes.detail(row, self.size.width, lines - 1) if row else Text(""))

    def _chosen_id(self) -> str:
        line = self._table.cursor_row
        return self._rows[line].device_id if 0 <= line < len(self._rows) else ""

    def _choose(self, device_id: str) -> None:
        ids = self.device_ids
        if device_id in ids:
            self._table.move_cursor(row=ids.index(device_id))


def _same(one: Text, other: Text) -> bool:
    """Whether two cells look the same; texts that differ in colour alone are equal to rich."""
    return one == other and one.style == other.style
