"""A telemetry folder that is full, read-only, damaged or in the way: a state with a name, no crash, well by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.adapters.telemetry import TelemetryServer, read_points
from edge_agent.adapters.telemetry.shipping_status import look_at_spool
from edge_agent.core.health import DETAIL_LENGTH_MAX, Part
from tests.adapters.telemetry_samples import SESSION, new_sink, until
from tests.support.faulty_database import FaultyDatabase
from tests.support.hosts import make_device
from tests.support.patience import PATIENCE_S
from tests.support.small_disk import small_disk

WAIT_S = PATIENCE_S


def sessions(folder: Path) -> int:
    return sum(point.measurement == "agent_session" for point in read_points(folder))


def fill(disk: Path) -> Path:
    """Takes all room of a disk."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return ballast


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


async def test_a_full_disk_is_told_once_with_the_way_out_and_points_are_kept_again_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        folder = disk / "telemetry"
        sink = new_sink(folder)
        heard: list[str] = []
        sink.watch(heard.append)
        sink.record_session(SESSION)
        await until(lambda: sessions(folder) == 1, WAIT_S)
        ballast = fill(disk)
        dropped = 0
        while not heard:  # the last block of the file takes some more
            sink.record_session(SESSION)
            await asyncio.sleep(0.01)
        kept = sessions(folder)
        for _ in range(3):
            dropped = sink.dropped
            sink.record_session(SESSION)
            await until(lambda dropped=dropped: sink.dropped > dropped, WAIT_S)  # type: ignore[misc]  # default binds
        (trouble,) = heard
        assert "No space left on device" in trouble
        assert "make room" in trouble
        assert "No space left on device" in look_at_spool(folder, "dev-1", []).problems[0]
        assert caplog.text.count("telemetry to") == 1
        ballast.unlink()
        sink.record_session(SESSION)
        await until(lambda: heard[1:] == [""], WAIT_S)
        assert sessions(folder) == kept + 1
        assert look_at_spool(folder, "dev-1", []).problems == ()
        await sink.stop()
        assert "telemetry can be written again" in caplog.text


async def test_a_disk_that_is_full_when_the_device_starts_costs_points_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        ballast = fill(disk)
        sink = new_sink(disk / "telemetry")
        heard: list[str] = []
        sink.watch(heard.append)
        sink.record_session(SESSION)
        await until(lambda: len(heard) == 1, WAIT_S)
        ballast.unlink()
        sink.record_session(SESSION)
        await until(lambda: heard[1:] == [""], WAIT_S)
        await sink.stop()
        assert sessions(disk / "telemetry") == 1
        assert sink.dropped == 1


async def test_a_disk_that_becomes_read_only_is_named_and_comes_back(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        folder = disk / "telemetry"
        sink = new_sink(folder)
        heard: list[str] = []
        sink.watch(heard.append)
        sink.record_session(SESSION)
        await until(lambda: sessions(folder) == 1, WAIT_S)
        await sink.stop()  # a file that is open for writing would keep the disk from becoming read-only
        remount(disk, "ro")
        sink = new_sink(folder)
        sink.watch(heard.append)
        sink.record_session(SESSION)
        await until(lambda: bool(heard), WAIT_S)
        assert "Read-only file system" in heard[0]
        assert "mounted read-only" in look_at_spool(folder, "dev-1", []).problems[0]
        remount(disk, "rw")
        sink.record_session(SESSION)
        await until(lambda: heard[1:] == [""], WAIT_S)
        await sink.stop()
        assert sessions(folder) == 2


DAMAGE: dict[str, Callable[[Path], object]] = {
    "nothing in it": lambda path: path.write_bytes(b""),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "more zeros": lambda path: path.write_bytes(b"\0" * 200_000),
    "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "other JSON": lambda path: path.write_bytes(b'{"name": [1], "files": {"a": "b"}, "cursor": 1e999, "spool": null}'),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("which", ["*.spool", "*.cursor", "*.lp"])
@pytest.mark.parametrize("damage", DAMAGE)
async def test_whatever_a_power_cut_leaves_of_a_file_the_next_points_arrive_and_the_books_close(
    which: str, damage: str, tmp_path: Path
) -> None:
    folder = tmp_path / "telemetry"
    with FaultyDatabase().serving() as database:
        server = TelemetryServer(database.url)
        sink = new_sink(folder, servers=[server], report_s=3600.0)
        for _ in range(10):
            sink.record_session(SESSION)
        await until(lambda: len(database.points) == 10, WAIT_S)
        await sink.stop()
        (path,) = folder.glob(which)
        DAMAGE[damage](path)
        before = len(database.points)
        sink = new_sink(folder, servers=[server], report_s=3600.0)
        heard: list[str] = []
        sink.watch(heard.append)
        for _ in range(5):
            sink.record_session(SESSION)
        if damage == "a folder" and which != "*.cursor":
            await until(lambda: sink.dropped == 5, WAIT_S)
            assert "move away what is in its place" in heard[0]
            assert len(heard[0]) <= DETAIL_LENGTH_MAX or str(tmp_path) in heard[0]
            path.rmdir()
            for _ in range(5):
                sink.record_session(SESSION)
        await until(lambda: len(database.points) >= before + 5, WAIT_S)
        await until(lambda: (f := sink._shippers[0].figures()) is not None and f.spool_points == 0, WAIT_S)
        await sink.stop()
        figures = sink._shippers[0].figures()
        assert figures is not None
        parts = figures.points_sent + figures.points_lost + figures.points_refused + figures.spool_points
        assert figures.points_written == parts
        assert min(figures.points_written, figures.points_sent, figures.points_lost, figures.points_refused) >= 0
        for line in database.points.values():
            assert line.startswith(("agent_session,", "agent_telemetry,")), "only what is whole was sent"


async def test_a_device_tells_of_its_telemetry_folder_in_its_status_and_takes_it_back(
    tmp_path: Path, mosquitto: EmbeddedBroker
) -> None:
    folder = tmp_path / "telemetry"
    folder.write_text("a file in the way")
    device = make_device("d0", mosquitto.url, tmp_path / "state", telemetry=new_sink(folder))
    device.task = asyncio.create_task(device.host.run())
    try:

        def told() -> list[str]:
            return [one.detail for one in device.agent._context.health.problems() if one.part is Part.TELEMETRY]

        await until(lambda: bool(told()), WAIT_S)
        assert "move away what is in its place" in told()[0]
        folder.unlink()
        await until(lambda: not told(), WAIT_S)
    finally:
        await device.stop()
