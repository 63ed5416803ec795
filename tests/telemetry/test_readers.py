"""What was written to a real database comes back as it was written."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest

from edge_agent.adapters.telemetry import ServerKind, TelemetryServer, TelemetryServerError, influxql, promql
from edge_agent.adapters.telemetry.influxql import read_influxql
from edge_agent.adapters.telemetry.promql import read_victoria_metrics
from edge_agent.adapters.telemetry.reader import read_database
from edge_agent.core.errors import MoameshError, SettingsError
from edge_agent.wire.line_protocol import Point, encode
from tests.support.databases import DatabaseServer, running
from tests.support.polling import until
from tests.telemetry.records import STEP_NS, an_hour_ago_ns, in_order, recorded

PIECE = 5_000  # lines in a write: below what a server takes at once


def fill(database: DatabaseServer, points: Iterable[Point]) -> None:
    points = iter(points)
    while piece := list(itertools.islice(points, PIECE)):
        database.write([encode(point) for point in piece])


async def read_all_of(server: TelemetryServer, count: int) -> list[Point]:
    """Reads until as many are there: the newest of a database may take a moment to be seen."""
    read: list[Point] = []

    def there() -> bool:
        with contextlib.suppress(MoameshError):
            read[:] = read_database(server)
        return len(read) >= count

    await until(there, f"{count} points can be read")
    return read


async def test_a_point_read_is_the_point_written(database: DatabaseServer) -> None:
    written = list(recorded(2_000))
    fill(database, written)
    read = await read_all_of(TelemetryServer(database.url), len(written))
    assert in_order(read) == in_order(written)
    for one, other in zip(in_order(read), in_order(written), strict=True):
        assert [type(value) for value in one.fields.values()] == [type(value) for value in other.fields.values()]


async def test_each_device_comes_in_the_order_of_time(database: DatabaseServer) -> None:
    written = list(recorded(600))
    fill(database, reversed(written))
    last: dict[tuple[str, str], int] = {}
    for point in await read_all_of(TelemetryServer(database.url), len(written)):
        series = (point.measurement, point.tags["device_id"])
        assert point.time_ns > last.get(series, 0)
        last[series] = point.time_ns


async def test_a_point_sent_twice_is_read_once(tmp_path: Path) -> None:
    written = list(recorded(100))
    for kind in ("influxdb", "victoria-metrics"):
        with running(
            DatabaseServer(kind, tmp_path / kind, flags=())
        ) as database:  # without VictoriaMetrics' own remedy
            fill(database, written + written[50:])
            read = await read_all_of(TelemetryServer(database.url), len(written))
            assert in_order(read) == in_order(written)


async def test_only_the_last_seconds_of_what_was_recorded(database: DatabaseServer) -> None:
    written = list(recorded(400))
    fill(database, written)
    server = TelemetryServer(database.url)
    await read_all_of(server, len(written))
    seconds = 20.0
    begin_ns = written[-1].time_ns - int(seconds * 1e9)
    read = read_database(server, since_s=seconds)
    assert in_order(read) == in_order(point for point in written if point.time_ns >= begin_ns)


async def test_large_answers_come_in_pieces(monkeypatch: pytest.MonkeyPatch, database: DatabaseServer) -> None:
    monkeypatch.setattr(influxql, "CHUNK_ROWS", 10)
    monkeypatch.setattr(promql, "LINE_SAMPLES", 10)
    monkeypatch.setattr(promql, "SAMPLES_MAX", 2_000)  # of 15,000: windows shrink and grow
    windows: list[int | None] = []
    ask_window = promql._window

    def counted(*arguments: object) -> object:
        found = ask_window(*arguments)  # type: ignore[arg-type]  # passed on
        windows.append(None if found is None else len(found))
        return found

    monkeypatch.setattr(promql, "_window", counted)
    written = list(recorded(1_200))
    fill(database, written)
    read = await read_all_of(TelemetryServer(database.url), len(written))
    assert in_order(read) == in_order(written)
    if database.kind == "victoria-metrics":
        assert None in windows
        assert max(count for count in windows if count is not None) < 500


async def test_points_of_long_ago_and_of_today_are_one_record(victoria_metrics: DatabaseServer) -> None:
    year_ago = list(recorded(50, begin_ns=an_hour_ago_ns() - 365 * 86_400 * 10**9))
    today = list(recorded(50))
    fill(victoria_metrics, year_ago + today)
    read = await read_all_of(TelemetryServer(victoria_metrics.url), 100)
    assert in_order(read) == in_order(year_ago + today)


async def test_of_several_meshes_one_is_named(database: DatabaseServer) -> None:
    home, barn = list(recorded(50, mesh="home")), list(recorded(60, mesh="barn", seed=2))
    fill(database, home)
    await read_all_of(TelemetryServer(database.url), 50)
    fill(database, barn)
    server = TelemetryServer(database.url)

    def read_mesh(name: str | None) -> list[Point] | str:
        try:
            return in_order(read_database(server, name))
        except MoameshError as error:
            return str(error)

    await until(lambda: read_mesh("barn") == in_order(barn), "the barn's points are read")
    assert read_mesh("home") == in_order(home)
    where = "(barn, home): choose one with --mesh"
    await until(lambda: str(read_mesh(None)).endswith(where), "both are named")
    assert "no mesh garage in " in (said := str(read_mesh("garage")))
    assert said.endswith("; there: barn, home")


def test_an_empty_database_is_said_to_be_empty(database: DatabaseServer) -> None:
    with pytest.raises(SettingsError, match="no telemetry of a mesh in "):
        list(read_database(TelemetryServer(database.url)))


def test_a_missing_database_is_named_with_those_there(influxdb: DatabaseServer) -> None:
    with pytest.raises(SettingsError, match=f"no database attic at {influxdb.url}; there: moamesh"):
        list(read_database(TelemetryServer(influxdb.url, database="attic")))


def test_a_quote_in_a_name_is_no_query(influxdb: DatabaseServer) -> None:
    fill(influxdb, recorded(10, mesh="it's"))
    assert len(list(read_influxql(TelemetryServer(influxdb.url), "it's"))) == 10
    with pytest.raises(SettingsError, match="no mesh"):
        list(read_influxql(TelemetryServer(influxdb.url), "x' OR 'a'='a"))


def test_who_may_not_read_is_told_so_without_the_password(tmp_path: Path) -> None:
    with running(DatabaseServer("influxdb", tmp_path, auth=True)) as database:
        fill(database, recorded(10))
        user, password = DatabaseServer.ADMIN
        for server in (
            TelemetryServer(database.url),
            TelemetryServer(database.url, username=user, password="another secret"),
        ):
            with pytest.raises(TelemetryServerError, match=r"refuses access \(401\)") as raised:
                list(read_database(server))
            assert "secret" not in str(raised.value)
        server = TelemetryServer(database.url, username=user, password=password)
        assert len(list(read_database(server))) == 10


def test_a_server_that_is_not_there_is_one_line(influxdb: DatabaseServer) -> None:
    influxdb.kill()
    for kind in (None, *ServerKind):
        with pytest.raises(TelemetryServerError, match="cannot be reached: Connection refused") as raised:
            list(read_database(TelemetryServer(influxdb.url, kind=kind)))
        assert raised.value.retryable


def test_a_database_read_in_the_wrong_dialect_says_what_it_was_asked(
    influxdb: DatabaseServer, victoria_metrics: DatabaseServer
) -> None:
    wrong: list[tuple[Callable[..., Iterable[Point]], DatabaseServer]] = [
        (read_victoria_metrics, influxdb),
        (read_influxql, victoria_metrics),
    ]
    for read, database in wrong:
        with pytest.raises(MoameshError) as raised:
            list(read(TelemetryServer(database.url)))
        assert database.url in str(raised.value)
        assert "\n" not in str(raised.value)


def test_telemetry_of_another_make_is_refused_in_words(influxdb: DatabaseServer) -> None:
    influxdb.write(["agent_queue,mesh=m,device_id=d accepted=0.5 1700000000000000000"])
    with pytest.raises(SettingsError, match=r"not telemetry written by moamesh: agent_queue accepted is 0\.5"):
        list(read_database(TelemetryServer(influxdb.url)))


def test_figures_told_come_back_from_victoria_metrics_raw(victoria_metrics: DatabaseServer) -> None:
    # what a dashboard shows, without the reader's own rounding: this is why figures are told with ten digits
    written = [point for point in recorded(3_000) if point.measurement == "agent_request"]
    fill(victoria_metrics, written)
    expected = sorted(point.fields["waiting_time_s"] for point in written)
    answer = httpx.get(f"{victoria_metrics.url}/api/v1/export", params={"match[]": "agent_request_waiting_time_s"})
    raw = sorted(
        value for line in answer.text.splitlines() for value in httpx.Response(200, text=line).json()["values"]
    )
    assert len(raw) == len(expected)
    assert all(math.isclose(one, other, rel_tol=1e-15) for one, other in zip(raw, expected, strict=True))


def test_a_step_of_recording_is_whole_milliseconds() -> None:
    assert STEP_NS % 1_000_000 == an_hour_ago_ns() % 1_000_000 == 0
