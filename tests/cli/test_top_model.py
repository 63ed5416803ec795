"""What `moamesh top` shows, without a screen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.cli.watch.top.cells import columns_for
from edge_agent.cli.watch.top.drawing import bar, compact, duration, graph, sparkline
from edge_agent.cli.watch.top.model import HISTORY_SAMPLES_MAX, History, Order, Snapshot, SortKey
from edge_agent.cli.watch.top.panes import alerts_line, detail, heading, totals_line
from edge_agent.client.roster import DeviceState, Roster
from edge_agent.core.health import Part, Problem
from edge_agent.core.messages import DeviceStatus, PresenceState
from tests.client.samples import presence, status

NOW = 1000.0


def figures(device_id: str, *, waiting: int = 0, load: float = 0.5, rejected: int = 0) -> DeviceStatus:
    return replace(
        status(device_id, waiting=waiting),
        offered_load=load,
        stability_margin=1.0 - load,
        rejected=rejected,
        requests_running=1,
        sessions_active=2,
    )


class Mesh:
    """A roster and a history that are fed alike, as the app feeds them."""

    def __init__(self) -> None:
        self.roster, self.history = Roster(), History()

    def tell(self, message: DeviceStatus, at: float = NOW) -> None:
        self.roster.take_presence(presence(message.device_id), at)
        self.roster.take_status(message, at, retained=False)
        self.history.take(message, at)

    def look(self, at: float = NOW, *, connected: bool = True) -> Snapshot:
        return self.history.snapshot(self.roster.all(), at, connected=connected)


@pytest.fixture
def mesh() -> Mesh:
    three = Mesh()
    three.tell(figures("attic", waiting=2, load=0.2))
    three.tell(figures("kitchen", waiting=7, load=1.3))
    three.tell(figures("pantry", waiting=0, load=0.95))
    return three


def ids(snapshot: Snapshot, order: Order, wanted: str = "") -> list[str]:
    return [row.device_id for row in snapshot.chosen(order, wanted)]


def test_rows_are_ordered_by_what_is_asked_for_the_worst_first(mesh: Mesh) -> None:
    seen = mesh.look()
    assert ids(seen, Order()) == ["attic", "kitchen", "pantry"]
    assert ids(seen, Order(SortKey.WAITING)) == ["kitchen", "attic", "pantry"]
    assert ids(seen, Order(SortKey.LOAD)) == ["kitchen", "pantry", "attic"]
    assert ids(seen, Order(SortKey.MARGIN)) == ["kitchen", "pantry", "attic"]
    assert ids(seen, Order(SortKey.MARGIN, flipped=True)) == ["attic", "pantry", "kitchen"]


def test_every_sort_key_is_reached_by_going_on_and_orders_a_device_without_figures_too(mesh: Mesh) -> None:
    mesh.roster.take_presence(presence("shed"), NOW)
    key, seen = SortKey.DEVICE, set()
    for _ in SortKey:
        assert sorted(ids(mesh.look(), Order(key))) == ["attic", "kitchen", "pantry", "shed"]
        seen.add(key)
        key = key.next
    assert seen == set(SortKey)
    assert key is SortKey.DEVICE
    assert (
        ids(mesh.look(), Order(SortKey.LOAD))[-1] == ids(mesh.look(), Order(SortKey.LOAD, flipped=True))[-1] == "shed"
    )


def test_a_filter_looks_at_device_model_and_state(mesh: Mesh) -> None:
    mesh.roster.take_presence(presence("pantry", PresenceState.OFFLINE), NOW)
    seen = mesh.look()
    assert ids(seen, Order(), "  KIT ") == ["kitchen"]
    assert ids(seen, Order(), "tiny") == ["attic", "kitchen", "pantry"]
    assert ids(seen, Order(), "offline") == ["pantry"]
    assert ids(seen, Order(), "nobody") == []


def test_totals_put_measured_beside_predicted_and_leave_out_who_is_gone(mesh: Mesh) -> None:
    totals = mesh.look().totals()
    assert (totals.devices, totals.online) == (3, 3)
    assert totals.load_mean == pytest.approx((0.2 + 1.3 + 0.95) / 3)
    assert totals.load_max == 1.3
    assert totals.requests_waiting_mean == pytest.approx(1.5)
    assert totals.requests_waiting_predicted == pytest.approx(0.75)
    mesh.roster.take_presence(presence("kitchen", PresenceState.OFFLINE), NOW)
    totals = mesh.look().totals()
    assert (totals.devices, totals.online, totals.load_max) == (3, 2, 0.95)
    assert "waiting 1.0 predicted ≈0.5" in totals_line(mesh.look()).plain


def test_alerts_name_the_unstable_the_full_the_refusing_and_the_gone_worst_first(mesh: Mesh) -> None:
    mesh.tell(figures("attic", waiting=31, load=0.3))
    mesh.tell(figures("pantry", load=0.5, rejected=3), NOW + 1)
    mesh.tell(figures("pantry", load=0.5, rejected=8), NOW + 2)
    mesh.tell(figures("zoo"))
    mesh.roster.take_presence(presence("zoo", PresenceState.OFFLINE), NOW)
    alerts = [(alert.device_id, alert.text) for alert in mesh.look(NOW + 2).alerts()]
    assert alerts == [
        ("pantry", "refused 8 in the last minute"),
        ("zoo", "went offline"),
        ("attic", "queue 32 of 32"),
        ("kitchen", "unstable, load 1.30"),
    ]
    assert alerts_line(mesh.look(NOW + 2)).plain.startswith("4 alerts: pantry refused 8")


def test_a_refusal_is_an_alert_for_a_minute_and_a_restart_is_none(mesh: Mesh) -> None:
    mesh.tell(figures("attic", rejected=3))
    mesh.tell(figures("attic", rejected=4), NOW + 1)
    for second in range(2, 70):
        mesh.tell(figures("attic", rejected=4), NOW + second)
    assert [alert.device_id for alert in mesh.look(NOW + 69).alerts() if "refused" in alert.text] == []
    mesh.tell(figures("attic", rejected=0), NOW + 70)
    assert [alert.device_id for alert in mesh.look(NOW + 70).alerts() if "refused" in alert.text] == []


def test_a_device_that_says_nothing_more_is_silent_and_an_alert(mesh: Mesh) -> None:
    seen = mesh.look(NOW + 60)
    assert {row.state for row in seen.rows} == {DeviceState.SILENT}
    assert [alert.text for alert in seen.alerts()] == ["is silent"] * 3


def test_a_lost_broker_is_said_with_for_how_long_and_not_for_a_blink(mesh: Mesh) -> None:
    assert mesh.look().lost_for_s is None
    mesh.look(NOW + 1, connected=False)
    assert "no connection" not in heading("m", "b", mesh.look(NOW + 1.5, connected=False), paused=False).plain
    lost = mesh.look(NOW + 13, connected=False)
    assert lost.lost_for_s == 12.0
    assert "no connection to the broker for 12 s" in heading("m", "b", lost, paused=False).plain
    assert mesh.look(NOW + 14).lost_for_s is None


def test_a_synthetic_engine_is_called_so_wherever_a_model_stands(mesh: Mesh) -> None:
    mesh.tell(replace(figures("attic"), model="llama-7b", synthetic=True))
    (row,) = mesh.look().chosen(Order(), "attic")
    assert row.model == "synthetic:llama-7b"
    assert "no language model" in detail(row, 80, 10).plain
    assert "1 synthetic, no language model" in heading("m", "b", mesh.look(), paused=False).plain


def test_history_is_bounded_and_graphs_fit_their_pane(mesh: Mesh) -> None:
    for second in range(2 * HISTORY_SAMPLES_MAX):
        mesh.tell(figures("attic", waiting=second % 9), NOW + second)
    (row,) = mesh.look(NOW + 2 * HISTORY_SAMPLES_MAX).chosen(Order(), "attic")
    assert len(row.samples) == HISTORY_SAMPLES_MAX
    for width, height in ((80, 10), (40, 6), (200, 30)):
        lines = detail(row, width, height).plain.split("\n")
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines[3:])
    assert "█" in detail(row, 80, 10).plain


def test_a_name_that_moves_the_cursor_is_shown_harmless(mesh: Mesh) -> None:
    mesh.tell(replace(figures("attic"), model="\x1b[2Jevil"))
    (row,) = mesh.look().chosen(Order(), "attic")
    cells = [column.cell(row).plain for column in columns_for(200)]
    assert "[2Jevil" in " ".join(cells)
    assert "\x1b" not in " ".join([*cells, detail(row, 80, 10).plain])


@pytest.mark.parametrize("width", [20, 40, 80, 100, 120, 250])
def test_columns_fit_the_terminal_and_the_least_important_give_way(width: int) -> None:
    columns = columns_for(width)
    assert sum(column.width + 1 for column in columns) <= width
    assert columns[0].name == "device"
    if width >= 80:
        assert {"state", "queue", "ρ", "margin", "waiting"} <= {column.name for column in columns}
    if width >= 250:
        assert {"acc", "rej", "exp", "sess", "model"} <= {column.name for column in columns}


def test_bars_and_graphs_are_as_wide_and_as_high_as_asked_for() -> None:
    assert bar(0, 10, 4) == "    "
    assert bar(5, 10, 4) == "██  "
    assert bar(99, 10, 4) == "████"
    assert bar(0.01, 10, 4) == "▏   "
    assert sparkline([], 4, 1.0) == "    "
    assert sparkline([0, 1, 2], 4, 2.0) == " ▁▄█"
    assert sparkline([9] * 20, 4, 9.0) == "████"
    assert graph([0, 1, 2], 4, 2, 2.0) == ["   █", " ▁██"]


def test_numbers_stay_short() -> None:
    assert [compact(count) for count in (0, 9999, 12_345, 999_999)] == ["0", "9999", "12.3k", "1M"]
    assert [duration(seconds) for seconds in (0, 0.0321, 1.5, 120.0)] == ["–", "32ms", "1.5s", "120s"]


def test_a_device_that_cannot_infer_is_an_alert_with_its_reason_wherever_one_looks(mesh: Mesh) -> None:
    problem = Problem(Part.ENGINE, "the model file is gone")
    mesh.tell(replace(figures("attic"), able=False, problems=(problem,), failed=4))
    seen = presence("attic")
    mesh.roster.take_presence(replace(seen, entry=replace(seen.entry, able=False)), NOW)
    mesh.tell(replace(figures("pantry"), durable=False, problems=(Problem(Part.JOURNAL, "the disk is full"),)))
    look = mesh.look()
    alerts = [(alert.device_id, alert.text, alert.severe) for alert in look.alerts()]
    assert alerts[0] == ("attic", "cannot infer: the model file is gone", True)
    assert ("pantry", "journal: the disk is full", False) in alerts
    assert "1 cannot infer" in heading("home", "b", look, paused=False).plain
    assert "failed 4" in totals_line(look).plain
    row = next(row for row in look.rows if row.device_id == "attic")
    assert "cannot infer: the model file is gone" in detail(row, 100, 12).plain
    cells = {column.name: column.cell(row).plain.strip() for column in columns_for(200)}
    assert (cells["health"], cells["fail"]) == ("unable", "4")
    assert ids(look, Order(SortKey.HEALTH))[0] == "attic"
    assert ids(look, Order(SortKey.FAILED))[0] == "attic"
