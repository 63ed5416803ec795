"""Telemetry into real databases that are killed and full spools: what is there is counted by reading it back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from edge_agent.adapters.telemetry import FileTelemetrySink, TelemetryServer, read_points
from edge_agent.adapters.telemetry.progress import ShippingFigures
from tests.adapters.telemetry_samples import HURRIED, REQUEST, SESSION, STATUS, new_sink, until
from tests.support.databases import DatabaseServer, running
from tests.support.faulty_database import FaultyDatabase
from tests.support.patience import PATIENCE_S

NEVER_S = 3600.0  # between reports, where points are counted: a slow machine must not bring one more
FIELD = {
    "agent_queue": "accepted",
    "agent_request": "input_tokens",
    "agent_session": "substitutes",
    "agent_telemetry": "points_written",
}
"""For each measurement a field that all its points have."""

Points = Counter[tuple[str, int]]
"""How often there is a point of (measurement, time in milliseconds); a device never has two."""


@pytest.fixture(params=["influxdb", "victoria-metrics"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[DatabaseServer]:
    with running(DatabaseServer(request.param, tmp_path / request.param)) as server:
        yield server


def points_in_files(folder: Path) -> Points:
    return Counter((point.measurement, point.time_ns // 1_000_000) for point in read_points(folder))


def points_in(database: DatabaseServer) -> Points:
    found: Points = Counter()
    database.flush()
    for measurement, field in FIELD.items():
        if database.kind == "influxdb":
            for series in database.influxql(f'SELECT "{field}" FROM {measurement} GROUP BY *'):
                found.update((measurement, row[0] // 1_000_000) for row in series["values"])
        else:
            parameters = {"match[]": f"{measurement}_{field}"}
            for line in httpx.get(
                f"{database.url}/api/v1/export", params=parameters, timeout=PATIENCE_S
            ).text.splitlines():
                found.update((measurement, time_ms) for time_ms in json.loads(line)["timestamps"])
    return found


async def arrived(database: DatabaseServer, wanted: Points) -> None:
    await until(lambda: points_in(database) == wanted, PATIENCE_S)


def figures_of(sink: FileTelemetrySink) -> ShippingFigures:
    return sink._shippers[0].figures() or ShippingFigures(0, 0, 0, 0, 0, 0)


async def test_what_is_recorded_is_in_the_database_once_and_a_restarted_sink_goes_on(
    database: DatabaseServer, tmp_path: Path
) -> None:
    folder = tmp_path / "telemetry"
    for _ in range(2):
        sink = new_sink(folder, servers=[TelemetryServer(database.url)], report_s=NEVER_S)
        for record in (sink.record_status, sink.record_request, sink.record_session):
            for _ in range(50):
                record({"record_status": STATUS, "record_request": REQUEST, "record_session": SESSION}[record.__name__])
        await sink.stop()
    points = points_in_files(folder)
    assert (points.total(), max(points.values())) == (302, 1), "with the last word of each sink about itself"
    await arrived(database, points)


async def test_a_database_that_is_killed_and_comes_back_has_every_point_once(
    database: DatabaseServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edge_agent")
    folder = tmp_path / "telemetry"
    sink = new_sink(folder, servers=[TelemetryServer(database.url)], report_s=0.2)
    for _ in range(300):
        sink.record_session(SESSION)
    await until(lambda: figures_of(sink).points_sent >= 300, PATIENCE_S)
    database.kill()
    for _ in range(300):
        sink.record_session(SESSION)
    await until(lambda: "waits in the spool" in caplog.text, PATIENCE_S)
    database.start()
    await until(lambda: "points delivered after" in caplog.text, PATIENCE_S)
    await sink.stop()
    await arrived(database, points_in_files(folder))
    assert caplog.text.count("cannot be reached: Connection refused") <= 1


async def test_victoria_metrics_that_starts_anew_unseen_between_two_runs_gets_what_it_forgot(
    victoria_metrics: DatabaseServer, tmp_path: Path
) -> None:
    folder = tmp_path / "telemetry"
    for _ in range(2):
        sink = new_sink(folder, servers=[TelemetryServer(victoria_metrics.url)])
        for _ in range(100):
            sink.record_session(SESSION)
        await sink.stop()
        assert figures_of(sink).spool_points == 0, "all of it was accepted"
        victoria_metrics.kill()
        time.sleep(1.1)  # noqa: ASYNC251 -- it tells of its start in whole seconds
        victoria_metrics.start()
    sink = new_sink(folder, servers=[TelemetryServer(victoria_metrics.url)])
    sink.record_session(SESSION)
    await sink.stop()
    await arrived(victoria_metrics, points_in_files(folder))


async def test_a_spool_that_is_too_small_loses_exactly_what_it_says(database: DatabaseServer, tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    small = {"file_bytes_max": 4096, "files_max": 3, "report_s": 3600.0}
    database.stop()
    sink = new_sink(folder, servers=[TelemetryServer(database.url)], **small)
    for number in range(2000):
        sink.record_session(replace(SESSION, substitutes=number))
    await until(lambda: figures_of(sink).points_written == 2000, PATIENCE_S)
    database.start()
    await until(lambda: figures_of(sink).spool_points == 0, PATIENCE_S)
    lost = figures_of(sink).points_lost
    await sink.stop()
    told = [point for point in read_points(folder) if point.measurement == "agent_telemetry"][-1].fields
    assert told["points_lost"] == lost > 1500
    assert told["points_written"] == 2000 == told["points_sent"] + lost
    await until(lambda: points_in(database).total() == 2001 - lost, PATIENCE_S)
    assert max(points_in(database).values()) == 1


RECORD_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from edge_agent.adapters.telemetry import TelemetryServer
from tests.adapters.telemetry_samples import SESSION, new_sink
async def main():
    sink = new_sink(Path(sys.argv[1]), servers=[TelemetryServer(sys.argv[2])], report_s=0.05)
    print("recording", flush=True)
    while True:
        for _ in range(3):
            sink.record_session(SESSION)
        await asyncio.sleep(0.002)
asyncio.run(main())
"""


def start_recorder(folder: Path, url: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", RECORD_UNTIL_KILLED, str(folder), url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"recording\n"
    return process


async def test_a_recorder_killed_again_and_again_has_every_point_of_its_files_in_the_database_once(
    database: DatabaseServer, tmp_path: Path
) -> None:
    seed = random.randrange(1000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    folder = tmp_path / "telemetry"
    for run in range(6):
        process = start_recorder(folder, database.url)
        try:
            before = points_in_files(folder).total()
            await until(lambda count=before: points_in_files(folder).total() > count + 20)
            time.sleep(draw.uniform(0.05, 0.8))  # noqa: ASYNC251 -- until a random moment, not for anything
            if run in (2, 4):
                database.kill()
                time.sleep(draw.uniform(0.0, 0.3))  # noqa: ASYNC251 -- as above
        finally:
            process.kill()
            process.communicate()
        if run in (3, 4):
            database.start()
    sink = new_sink(folder, servers=[TelemetryServer(database.url)], report_s=NEVER_S)
    sink.record_session(SESSION)
    await until(lambda: figures_of(sink).points_sent > 0, PATIENCE_S)
    await until(lambda: figures_of(sink).spool_points == 0, PATIENCE_S)
    await sink.stop()
    points = points_in_files(folder)
    assert points.total() > 100
    assert max(points.values()) == 1
    await arrived(database, points)
    figures = figures_of(sink)
    assert (figures.points_sent, figures.points_lost, figures.points_refused) == (points.total(), 0, 0)


async def test_influxdb_with_a_user_is_written_to_with_the_password_only(tmp_path: Path) -> None:
    with running(DatabaseServer("influxdb", tmp_path / "influxdb", auth=True)) as database:
        user, password = DatabaseServer.ADMIN
        for secret, folder in (("wrong", tmp_path / "wrong"), (password, tmp_path / "right")):
            server = TelemetryServer(database.url, username=user, password=secret)
            sink = new_sink(folder, servers=[server], report_s=NEVER_S)
            sink.record_session(SESSION)
            await until(lambda sink=sink: sink._spool.extent() is not None, PATIENCE_S)
            await sink.stop()
            assert figures_of(sink).points_sent == (0 if secret == "wrong" else 2)
        await arrived(database, points_in_files(tmp_path / "right"))


async def test_influxdb_that_refuses_a_type_takes_the_other_points(
    influxdb: DatabaseServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    influxdb.write([f'agent_session,device_id=other,mesh=home,outcome=answered substitutes="text" {time.time_ns()}'])
    sink = new_sink(tmp_path / "telemetry", servers=[TelemetryServer(influxdb.url)], report_s=NEVER_S)
    for _ in range(20):
        sink.record_session(SESSION)
        sink.record_request(REQUEST)
    await until(lambda: figures_of(sink).points_refused == 20, PATIENCE_S)
    await sink.stop()
    assert points_in(influxdb).total() == 22, "the requests, the last word of the sink, and the other's point"
    assert "field type conflict" in caplog.text
    assert figures_of(sink).points_lost == 0


async def test_two_devices_share_a_folder_and_a_database_and_nothing_else(
    influxdb: DatabaseServer, tmp_path: Path
) -> None:
    folder = tmp_path / "telemetry"
    sinks = [
        new_sink(
            folder, device_id=f"dev-{number}", servers=[TelemetryServer(influxdb.url)], pace=HURRIED, report_s=NEVER_S
        )
        for number in range(2)
    ]
    for sink in sinks:
        for _ in range(100):
            sink.record_session(SESSION)
    for sink in sinks:
        await sink.stop()
        assert figures_of(sink).points_sent == 101
    counts = influxdb.influxql("SELECT COUNT(substitutes) FROM agent_session GROUP BY device_id")
    assert [series["values"][0][1] for series in counts] == [100, 100]


async def test_recording_goes_on_beside_a_server_that_hangs(tmp_path: Path) -> None:
    """What it costs is measured by `python -m bench.telemetry`, not asserted."""
    with FaultyDatabase().serving() as hanging:
        hanging.behave = hanging.hang
        beside = new_sink(tmp_path / "beside", servers=[TelemetryServer(hanging.url, timeout_s=0.2)])
        recorded = 0
        while recorded < 4000 or len(hanging.writes) < 2:
            for _ in range(200):
                beside.record_session(SESSION)
            recorded += 200
            await until(lambda count=recorded: figures_of(beside).points_written >= count)
        await beside.stop()
    assert beside.dropped == 0
    assert sum(point.measurement == "agent_session" for point in read_points(tmp_path / "beside")) == recorded
