"""Clocks that are wrong and are set: points follow, none shares its time, and none in the future reaches a database."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.telemetry import TelemetryServer, TelemetryServerError, read_points
from edge_agent.adapters.telemetry import clock as clocks
from edge_agent.adapters.telemetry.batch import Batch
from edge_agent.adapters.telemetry.check import check_server
from edge_agent.adapters.telemetry.clock import ClockStep, PointClock, elapsed_ns
from edge_agent.adapters.telemetry.server import look_at_victoria_metrics
from edge_agent.adapters.telemetry.shipping_status import look_at_spool
from edge_agent.adapters.telemetry.spool import Place
from edge_agent.adapters.telemetry.vetting import DAMAGED, IN_THE_FUTURE, NOT_SET, TOO_OLD, Bounds, first_lot
from edge_agent.wire.line_protocol import Point, encode
from tests.adapters.telemetry_samples import SESSION, new_sink, times_in, until
from tests.support.databases import DatabaseServer, running
from tests.support.faulty_database import FaultyDatabase
from tests.support.patience import PATIENCE_S

WAIT_S = PATIENCE_S
S, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9
NOW = 1_795_000_000 * S  # November 2026


@dataclass
class Clock:
    """A wall clock that can be set, and one that cannot."""

    wall: int = NOW
    monotonic: int = 5 * S

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def pass_by(self, span_ns: int) -> None:
        self.wall += span_ns
        self.monotonic += span_ns


def point_clock(clock: Clock, recent: list[int] | None = None) -> tuple[PointClock, list[ClockStep]]:
    steps: list[ClockStep] = []
    return PointClock(recent or [], clock.wall_ns, clock.monotonic_ns, steps.append), steps


def given_every_second(times: PointClock, clock: Clock, count: int) -> list[int]:
    given = []
    for _ in range(count):
        clock.pass_by(S)
        given.append(times.next_ns())
    return given


def test_a_clock_that_jumps_ahead_and_is_corrected_is_followed_both_ways_and_told_of() -> None:
    clock = Clock()
    times, steps = point_clock(clock)
    before = given_every_second(times, clock, 10)
    clock.wall += 20 * DAY
    wrong = given_every_second(times, clock, 30)
    clock.wall -= 20 * DAY
    after = given_every_second(times, clock, 10)
    assert [*before, *after] == [NOW + second * S for second in (*range(1, 11), *range(41, 51))]
    assert wrong == [NOW + 20 * DAY + second * S for second in range(11, 41)]
    ahead, back = steps
    assert (ahead.by_ns, ahead.followed) == (20 * DAY, True)
    assert (back.by_ns, back.followed, back.ahead, back.newest_ns) == (-20 * DAY, True, 30, wrong[-1])
    assert "set ahead by 20.0 days" in str(ahead)
    assert "30 points from before are in the future, up to 2026-12-" in str(back)


def test_a_clock_set_back_to_a_time_that_points_have_already_gives_every_point_one_of_its_own() -> None:
    clock = Clock()
    times, _ = point_clock(clock)
    first = given_every_second(times, clock, 50)
    clock.wall -= 3 * HOUR
    clock.wall += 2 * HOUR  # one hour back: slowly
    clock.wall -= 5 * HOUR
    second = given_every_second(times, clock, 50)
    clock.wall = NOW
    clock.wall -= 8 * HOUR
    third = given_every_second(times, clock, 50)
    clock.wall = second[0] - 5 * S  # into the second stretch again
    fourth = given_every_second(times, clock, 50)
    everything = [*first, *second, *third, *fourth]
    assert len(set(everything)) == len(everything)
    assert all(time_ns % clocks.STEP_NS == 0 for time_ns in everything)


def test_a_clock_set_back_by_some_minutes_is_approached_at_half_pace_and_told_of() -> None:
    clock = Clock()
    times, steps = point_clock(clock)
    last = given_every_second(times, clock, 10)[-1]
    clock.wall -= 600 * S
    slow = given_every_second(times, clock, 1300)
    assert slow[0] > last
    assert all(later > earlier for earlier, later in itertools.pairwise(slow))
    assert slow[599] - slow[99] == 250 * S
    assert slow[-1] == clock.wall, "caught up"
    (step,) = steps
    assert not step.followed
    assert "set back by 10 min: telemetry's time runs at half speed" in str(step)


def test_a_device_that_wakes_in_1970_has_the_right_time_once_its_clock_is_set() -> None:
    clock = Clock(wall=12 * S)
    times, steps = point_clock(clock)
    early = given_every_second(times, clock, 5)
    clock.wall = NOW
    assert early == [second * S for second in range(13, 18)]
    assert given_every_second(times, clock, 2) == [NOW + S, NOW + 2 * S]
    assert len(steps) == 1


def test_a_machine_that_was_suspended_has_not_had_its_clock_set() -> None:
    clock = Clock()
    times, steps = point_clock(clock)
    given_every_second(times, clock, 3)
    clock.pass_by(8 * HOUR)  # what `elapsed_ns` says of it
    given_every_second(times, clock, 3)
    assert steps == []
    assert elapsed_ns() >= time.monotonic_ns() - S


def test_a_restart_after_a_wrong_clock_follows_the_right_one_and_says_so_once() -> None:
    clock = Clock()
    times, steps = point_clock(clock, [NOW - 5 * S, NOW + 20 * DAY, NOW + 20 * DAY + S])
    assert given_every_second(times, clock, 1) == [NOW + S]
    assert (steps[0].ahead, len(steps)) == (2, 1)
    _, steps = point_clock(clock, [NOW + 20 * DAY, NOW])
    assert steps == []


@given(
    moves=st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 30, -30, 1800, -1800, 7200, -7200, 20 * 86_400]), st.integers(0, 3000)),
        max_size=60,
    )
)
def test_whatever_is_done_to_a_clock_no_two_points_share_a_time(moves: list[tuple[int, int]]) -> None:
    clock = Clock()
    times, _ = point_clock(clock)
    seen: set[int] = set()
    for set_by_s, pass_ms in moves:
        clock.wall += set_by_s * S
        clock.pass_by(pass_ms * 10**6)
        for _ in range(3):
            seen.add(times.next_ns())
    assert len(seen) == 3 * len(moves)


def test_remembered_times_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "REMEMBERED_MAX", 100)
    clock = Clock()
    times, _ = point_clock(clock)
    for _ in range(5):
        given_every_second(times, clock, 90)
        clock.wall -= 2 * HOUR
    assert len(times._given) + sum(map(len, times._earlier)) <= 100


def batch_of(*times_ns: int, extra: str = "") -> Batch:
    lines = [encode(Point("agent_session", {"mesh": "home"}, {"substitutes": 1}, time_ns)) for time_ns in times_ns]
    return Batch(Place(1, 0), "".join(f"{line}\n" for line in [*lines, *([extra] if extra else [])]).encode())


@pytest.mark.parametrize(
    ("time_ns", "bounds", "aside", "wait"),
    [
        (NOW, Bounds(NOW), "", False),
        (NOW + 30 * 60 * S, Bounds(NOW, NOW), "", False),
        (NOW + 20 * DAY, Bounds(NOW), IN_THE_FUTURE, False),
        (NOW + 20 * DAY, Bounds(NOW, NOW), IN_THE_FUTURE, False),
        (NOW + 20 * DAY, Bounds(NOW + 20 * DAY, NOW), "", True),  # nobody can say who is right
        (NOW, Bounds(NOW - 20 * DAY, NOW), "", False),  # the device's clock has fallen behind: the point is right
        (NOW - 20 * DAY, Bounds(NOW - 20 * DAY, NOW), "", False),  # it is, and so the point: said, and sent
        (5 * S, Bounds(NOW, NOW), NOT_SET, False),
        (5 * S, Bounds(6 * S, NOW), NOT_SET, False),
        (-5 * S, Bounds(NOW, NOW), NOT_SET, False),
        (2**63 - 1, Bounds(NOW, NOW), IN_THE_FUTURE, False),
        (NOW - 40 * DAY, Bounds(NOW, NOW), "", False),
        (NOW - 40 * DAY, Bounds(NOW, NOW, 31 * DAY), TOO_OLD, False),
        (NOW - 40 * DAY, Bounds(NOW, None, 31 * DAY), TOO_OLD, False),
        (NOW - 30 * DAY, Bounds(NOW, NOW, 31 * DAY), "", False),
    ],
)
def test_what_becomes_of_a_point_by_its_time(time_ns: int, bounds: Bounds, aside: str, wait: bool) -> None:
    lot = first_lot(batch_of(time_ns), bounds)
    assert (lot.aside, lot.wait) == (aside, wait)


def test_a_batch_is_taken_apart_where_the_fate_of_its_points_changes() -> None:
    batch = batch_of(NOW, NOW + S, NOW + 20 * DAY, NOW + 2 * S, 5, extra="damaged")
    fates = []
    while batch.data:
        lot = first_lot(batch, Bounds(NOW, NOW))
        fates.append((lot.batch.points, lot.aside))
        batch = replace(batch, start=lot.batch.end, data=batch.data[len(lot.batch.data) :])
    assert fates == [(2, ""), (1, IN_THE_FUTURE), (1, ""), (1, NOT_SET), (1, DAMAGED)]


@pytest.fixture(params=["influxdb", "victoria-metrics"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseServer]:
    with running(DatabaseServer(request.param, tmp_path / request.param)) as server:
        yield server


async def test_a_clock_20_days_ahead_for_a_while_leaves_nothing_in_the_future_of_a_database(
    database: DatabaseServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "telemetry"
    ahead_ns = 0
    server = TelemetryServer(database.url)
    sink = new_sink(folder, servers=[server], report_s=3600.0, wall_ns=lambda: time.time_ns() + ahead_ns)

    def figures() -> tuple[int, int, int]:
        now = sink._shippers[0].figures()
        return (now.points_sent, now.points_refused, now.spool_points) if now else (0, 0, 0)

    def record(count: int) -> None:
        from tests.adapters.telemetry_samples import STATUS

        sink.record_status(STATUS)
        for _ in range(count - 1):
            sink.record_session(SESSION)

    record(10)
    await until(lambda: figures() == (10, 0, 0), WAIT_S)
    ahead_ns = 20 * DAY
    record(10)
    await until(lambda: "this device's clock is 20.0 days ahead of the database's" in caplog.text, WAIT_S)
    assert figures() == (10, 0, 10), "nobody can say yet who is right: nothing is lost"
    (database_status,) = look_at_spool(folder, "dev-1", [server]).databases
    assert "timedatectl" in database_status.trouble
    assert "10 points are up to 20.0 days ahead" in look_at_spool(folder, "dev-1", [server]).problems[0]
    ahead_ns = 0
    record(10)
    await until(lambda: figures() == (20, 10, 0), WAIT_S)
    await until(lambda: look_at_spool(folder, "dev-1", [server]).databases[0].trouble == "", WAIT_S)
    await sink.stop()
    assert "set ahead by 20.0 days" in caplog.text
    assert "set back by 20.0 days" in caplog.text
    assert "10 points from before are in the future" in caplog.text
    now_ns = time.time_ns()
    wanted = {
        point.time_ns
        for point in read_points(folder)
        if point.measurement == "agent_session" and point.time_ns < now_ns + HOUR
    }
    assert len(wanted) == 18
    await until(lambda: times_in(database) == wanted, WAIT_S)


async def test_points_that_victoria_metrics_would_drop_in_silence_are_set_aside(tmp_path: Path) -> None:
    kept = DatabaseServer("victoria-metrics", tmp_path / "data", flags=("-retentionPeriod=2d",))
    with running(kept) as database:
        assert look_at_victoria_metrics(TelemetryServer(database.url)).keeps_ns == 2 * DAY
        back_ns = 5 * DAY
        server = TelemetryServer(database.url)
        sink = new_sink(
            tmp_path / "telemetry", servers=[server], report_s=3600.0, wall_ns=lambda: time.time_ns() - back_ns
        )
        for _ in range(5):
            sink.record_session(SESSION)
        await until(lambda: len(list(read_points(tmp_path / "telemetry"))) == 5, WAIT_S)
        back_ns = 0
        for _ in range(5):
            sink.record_session(SESSION)
        await until(lambda: (f := sink._shippers[0].figures()) is not None and f.points_sent == 5, WAIT_S)
        await sink.stop()
        figures = sink._shippers[0].figures()
        assert figures is not None
        assert (figures.points_sent, figures.points_refused, figures.points_lost) == (6, 5, 0)
        assert TOO_OLD in next((tmp_path / "telemetry").glob("*.refused")).read_text()


@pytest.mark.parametrize(
    ("ahead_s", "said"), [(20 * 86_400.0, "20.0 days behind"), (-20 * 86_400.0, "20.0 days ahead of")]
)
async def test_a_check_names_the_clocks_where_they_differ(ahead_s: float, said: str) -> None:
    with FaultyDatabase().serving() as database:
        database.clock_ahead_s = ahead_s
        with pytest.raises(TelemetryServerError, match=f"this device's clock is {said} the database's"):
            await asyncio.to_thread(check_server, TelemetryServer(database.url))
        assert database.writes == []


async def test_a_device_whose_clock_is_behind_sends_its_points_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultyDatabase().serving() as database:
        database.clock_ahead_s = 5 * 3600.0
        sink = new_sink(tmp_path, servers=[TelemetryServer(database.url)], report_s=3600.0)
        for number in range(3):
            sink.record_session(SESSION)
            await until(lambda number=number: len(database.points) == number + 1, WAIT_S)  # type: ignore[misc]  # default binds
        await sink.stop()
        assert caplog.text.count("its points lie in the past, this device's clock is 5.0 h behind") == 1


async def test_a_database_whose_clock_was_behind_gets_every_point_once_it_is_set(tmp_path: Path) -> None:
    with FaultyDatabase().serving() as database:
        database.clock_ahead_s = -20 * 86_400.0
        sink = new_sink(tmp_path, servers=[TelemetryServer(database.url)], report_s=3600.0)
        for _ in range(5):
            sink.record_session(SESSION)
        await until(lambda: "clock is 20.0 days ahead" in sink._shippers[0]._progress.trouble(), WAIT_S)
        assert database.writes == []
        database.clock_ahead_s = 0.0
        await until(lambda: len(database.points) == 5, WAIT_S)
        await until(lambda: sink._shippers[0]._progress.trouble() == "", WAIT_S)
        await sink.stop()
        figures = sink._shippers[0].figures()
        assert figures is not None
        assert (figures.points_sent, figures.points_refused, figures.points_lost) == (6, 0, 0)
