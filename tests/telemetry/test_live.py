"""A mesh at ρ = 0.7, its telemetry in InfluxDB and VictoriaMetrics at once. With MOAMESH_TESTS=full the long run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.telemetry import TelemetryServer, read_database
from edge_agent.adapters.telemetry.files import list_files, number_of
from edge_agent.core.messages import DeviceStatus
from edge_agent.wire.line_protocol import Point
from edge_agent.wire.measurements import FIELDS
from tests.support.databases import DATABASE, DatabaseServer
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.telemetry.live import (
    DEVICES,
    LOADED_S,
    OUTAGE_S,
    by_device,
    counts_in,
    counts_of,
    fewest_in,
    live_mesh,
    newest_in,
    of_load,
    points_in,
    retained_statuses,
    until_complete,
)
from tests.telemetry.reporting import report_of

SMALL_SPOOL = {"file_bytes_max": 4096, "files_max": 6}  # the least that settings allow, and a handful of them

pytestmark = [pytest.mark.broker, pytest.mark.long]


async def test_files_and_both_databases_say_the_same_of_a_live_mesh_and_so_does_the_status_topic(
    influxdb: DatabaseServer, victoria_metrics: DatabaseServer, tmp_path: Path
) -> None:
    databases = (influxdb, victoria_metrics)
    folder = tmp_path / "fleet"
    async with live_mesh(folder, databases) as mesh:
        await asyncio.sleep(LOADED_S)
        await until(lambda: len(answered(points_in(folder))) > LOADED_S, "more than a prompt a second is answered")
        retained = await retained_statuses(mesh)
    points = points_in(folder)
    await until_complete(databases, points)

    of_files = report_of("--telemetry", folder)
    assert len(of_files["devices"]) == DEVICES
    assert of_files["outcomes"]["answered"] > LOADED_S
    # what it should be depends on the machine too (docs/lab/MEASUREMENTS.md); what it is, on the points alone
    assert of_files["predicted"]["load_paper"] == pytest.approx(load_of(points), rel=0.1)
    assert all(device["requests_waiting_predicted"] is not None for device in of_files["devices"])
    for database in databases:
        assert report_of("--influx", database.url) == of_files
        assert report_of("--influx", database.url, "--since", "10s") == report_of(
            "--telemetry", folder, "--since", "10s"
        )
        recorded = queues_of(read_database(TelemetryServer(database.url)))
        assert_published_as_recorded(mesh.statuses, recorded)
        for device, status in retained.items():
            assert figures_of(status) in [point.fields for point in recorded[device]]
    assert_nothing_unrecorded(points)
    print_report(of_files, points)


async def test_killed_servers_and_a_killed_agent_cost_no_point_and_double_none(
    influxdb: DatabaseServer, victoria_metrics: DatabaseServer, tmp_path: Path
) -> None:
    databases = (influxdb, victoria_metrics)
    folder = tmp_path / "fleet"
    async with live_mesh(folder, databases) as mesh:
        await until(lambda: all(fewest_in(database) > 20 for database in databases), "points arrive", PATIENCE_S)
        for database in databases:
            database.kill()
        await asyncio.sleep(OUTAGE_S / 3)
        mesh.fleet.kill("device-2")
        await asyncio.sleep(OUTAGE_S / 3)
        await mesh.fleet.restart("device-2")
        await asyncio.sleep(OUTAGE_S / 3)
        recorded = by_device(counts_of(points_in(folder)))
        for database in databases:
            database.start()
        for database in databases:
            await until(
                lambda one=database: by_device(counts_in(one)) > recorded,
                "the spools are sent",
                PATIENCE_S,  # type: ignore[misc]  # default binds
            )
    points = points_in(folder)
    assert len({(point.time_ns, point.tags["device_id"]) for point in points}) == len(points)
    await until_complete(databases, points)
    assert_nothing_unrecorded(points)
    told = last_words(points)
    assert {device for device, _ in told} == {f"device-{number}" for number in range(1, DEVICES + 1)}
    assert all(fields["points_lost"] == fields["points_refused"] == 0 for fields in told.values())
    print(f"outage of {OUTAGE_S:.0f} s: {len(points)} points in the files and in each database")


async def test_a_spool_too_small_for_an_outage_loses_as_many_points_as_it_reports(
    influxdb: DatabaseServer, victoria_metrics: DatabaseServer, tmp_path: Path
) -> None:
    # the files hold some 8 seconds of a device; the database that stays up gets all that was produced
    folder = tmp_path / "fleet"
    async with live_mesh(folder, (influxdb, victoria_metrics), telemetry=SMALL_SPOOL) as mesh:
        await until(lambda: fewest_in(influxdb) > 10, "points arrive", PATIENCE_S)
        influxdb.kill()
        enough = {device: newest_file(folder, device) + SMALL_SPOOL["files_max"] + 3 for device in mesh.fleet.devices}
        await until(lambda: all(newest_file(folder, device) > enough[device] for device in enough), "points are lost")
        influxdb.start()
        back_ns = time.time_ns()
        await until(
            lambda: all(newest_in(influxdb)[device] > back_ns for device in enough), "all devices go on", PATIENCE_S
        )
    victoria_metrics.flush()
    told = last_words(points_in(folder))
    kept = [fields for (_, server), fields in told.items() if server == label_of(victoria_metrics)]
    assert all(fields["points_lost"] == fields["points_refused"] == 0 for fields in kept)
    reported = {
        device: fields["points_lost"] for (device, server), fields in told.items() if server == label_of(influxdb)
    }
    assert min(reported.values()) > 0

    def lost() -> dict[str, int]:
        produced, arrived = by_device(counts_in(victoria_metrics)), by_device(counts_in(influxdb))
        return {device: produced[device] - arrived[device] for device in produced}

    with contextlib.suppress(AssertionError):
        await until(lambda: lost() == reported, "all points are there")
    assert lost() == reported
    print(f"points lost and reported: {reported} of {by_device(counts_in(victoria_metrics))}")


def newest_file(folder: Path, device: str) -> int:
    """The number of the file that a device is writing."""
    return number_of(list_files(folder / device / "telemetry")[-1])


def label_of(database: DatabaseServer) -> str:
    """The tag of a database in `agent_telemetry`."""
    return f"{database.url.removeprefix('http://')}/{DATABASE}"


def answered(points: Iterable[Point]) -> list[Point]:
    """The prompts that were answered."""
    return [one for one in points if one.measurement == "agent_session" and one.tags["outcome"] == "answered"]


def load_of(points: Sequence[Point]) -> float:
    """The mean service time, times the items a second that a device takes on: by hand, and by another count."""
    served, items_hz = defaultdict(list), []
    for one in points:
        if one.measurement == "agent_request" and one.tags["outcome"] == "completed":
            served[one.tags["device_id"]].append(one.fields["service_time_s"])
    for queue in queues_of(points).values():
        seconds = (queue[-1].time_ns - queue[0].time_ns) / 1e9
        items_hz.append((queue[-1].fields["accepted"] - queue[0].fields["accepted"]) / seconds)
    alpha = sum(sum(one) / len(one) for one in served.values()) / len(served)
    return alpha * sum(items_hz) / len(items_hz)


def last_words(points: Sequence[Point]) -> dict[tuple[str, str], dict[str, int | float]]:
    """What each device said last of each database: (device, server) to the fields of `agent_telemetry`."""
    return {
        (point.tags["device_id"], point.tags["server"]): dict(point.fields)
        for point in sorted(points, key=lambda point: point.time_ns)
        if point.measurement == "agent_telemetry"
    }


def queues_of(points: Iterable[Point]) -> dict[str, list[Point]]:
    """The `agent_queue` points of each device in the order of time."""
    queues: dict[str, list[Point]] = defaultdict(list)
    for point in of_load(points):
        if point.measurement == "agent_queue":
            queues[point.tags["device_id"]].append(point)
    return queues


def figures_of(status: DeviceStatus) -> dict[str, int | float]:
    """The figures of a status message as `agent_queue` has them, to the last digit."""
    return {name: kind(getattr(status, name)) for name, kind in FIELDS["agent_queue"].items()}


def assert_published_as_recorded(statuses: Sequence[DeviceStatus], recorded: dict[str, list[Point]]) -> None:
    """Every status of every device is the point of the same interval, one after the other, none left out."""
    for device, points in recorded.items():
        published = [figures_of(status) for status in statuses if status.device_id == device]
        figures = [dict(point.fields) for point in points]
        first = figures.index(published[0])
        assert len(published) > LOADED_S / 2
        assert published == figures[first : first + len(published)]


def assert_nothing_unrecorded(points: Sequence[Point]) -> None:
    """Between two statuses of a device as many items are recorded as completed as its counter grew by."""
    ended: dict[str, list[int]] = defaultdict(list)
    for point in points:
        if point.measurement == "agent_request" and point.tags["outcome"] == "completed":
            ended[point.tags["device_id"]].append(point.time_ns)
    for device, queue in queues_of(points).items():
        for before, after in pairwise(queue):
            grew = after.fields["completed"] - before.fields["completed"]
            if grew >= 0:  # else it was restarted in between
                assert sum(before.time_ns < at < after.time_ns for at in ended[device]) == grew


def print_report(report: dict[str, Any], points: Sequence[Point]) -> None:
    """For docs/lab/MEASUREMENTS.md; shown with `-s`."""
    print(f"{len(points)} points, {report['duration_s']:.0f} s, {report['outcomes']}")
    print(f"load: {report['predicted']['load_paper']:.3f}, utilisation: {report['utilisation']:.3f}")
    for device in report["devices"]:
        names = ("utilisation", "utilisation_predicted", "requests_waiting_mean", "requests_waiting_predicted")
        print(device["device_id"], *(f"{name} {device[name]:.3f}" for name in names))
    print("waiting", report["requests_waiting"], "predicted", report["predicted"]["requests_waiting_mean"])
    print("latency", report["latency_s"], "predicted", report["predicted"]["latency_s"])
