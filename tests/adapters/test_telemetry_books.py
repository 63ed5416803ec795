"""The books of shipping, without threads or a network: whatever happens, every point is counted exactly once.

A server here is a set of points that may take a batch and answer, take it and not answer, or not get it at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.adapters.telemetry.batch import Batch
from edge_agent.adapters.telemetry.files import list_files
from edge_agent.adapters.telemetry.progress import ShippingFigures, ShippingProgress
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.adapters.telemetry.spool import Spool

SERVER = TelemetryServer("http://127.0.0.1:8086")
OWNER = "dev-1"


@dataclass
class Device:
    """A device's spool and one database's books, over any number of kills."""

    folder: Path
    files_max: int = 3
    forgetful: bool = False
    stored: set[bytes] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    written: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As a process does; what only memory held of the one before is gone."""
        self.spool = Spool(self.folder, OWNER, file_bytes_max=200, files_max=self.files_max)
        self.progress = ShippingProgress(self.spool, SERVER)
        self.spool.readers.append(self)
        self.spool.open()
        self.progress.durable_only_later = self.forgetful
        if self.forgetful:
            self.progress.server_started(str(self.starts))

    def kill(self) -> None:
        """Nothing is said to anybody."""
        self.spool.close()
        self.start()

    def points_appended(self) -> None:
        """As `SpoolReader`."""

    def before_removal(self, oldest_kept: int) -> None:
        """As `SpoolReader`."""
        self.progress.before_removal(oldest_kept)

    def write(self, points: int) -> None:
        """Appends points, no two the same."""
        self.spool.append([f"m f={number}i" for number in range(self.written, self.written + points)])
        self.written += points

    def take(self, batch: Batch) -> None:
        """The server stores a batch."""
        self.stored |= set(batch.data.splitlines())

    def ship(self, points_max: int = 100) -> bool:
        """Sends a batch as it should go. Returns whether there was one."""
        batch = self.progress.next_batch(points_max, 10_000)
        if batch is None:
            return False
        self.take(batch)
        self.progress.sent(batch)
        return True

    def figures(self) -> ShippingFigures:
        """What is told; checked for adding up."""
        figures = self.progress.figures()
        assert figures is not None
        parts = figures.points_sent + figures.points_lost + figures.points_refused + figures.spool_points
        assert figures.points_written == parts
        return figures

    def settle(self) -> ShippingFigures:
        """Sends all that is left; what was told must then be what is so."""
        while self.ship():
            pass
        figures = self.figures()
        assert (figures.points_written, figures.spool_points, figures.spool_bytes) == (self.written, 0, 0)
        assert figures.points_sent == len(self.stored)
        assert figures.points_refused == len(self.refused)
        assert figures.points_lost == self.written - len(self.stored) - len(self.refused)
        return figures


def test_a_database_that_keeps_up_gets_every_point(tmp_path: Path) -> None:
    device = Device(tmp_path)
    for _ in range(100):
        device.write(7)
        assert device.ship()
    assert device.settle().points_lost == 0


def test_what_leaves_a_full_spool_unsent_is_counted_to_the_point(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.write(500)
    figures = device.figures()
    assert 400 < figures.points_lost < 500
    assert device.settle().points_lost == figures.points_lost


def test_what_leaves_the_spool_while_no_agent_with_a_database_runs_is_counted_too(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.write(10)
    device.ship()
    device.spool.close()
    plain = Spool(tmp_path, OWNER, file_bytes_max=200, files_max=3)  # the database was taken out of agent.toml
    plain.append([f"m f={number}i" for number in range(10, 500)])
    plain.close()
    device.written = 500
    device.start()
    assert device.settle().points_lost > 400


def test_a_database_that_is_new_gets_what_the_spool_still_holds(tmp_path: Path) -> None:
    plain = Spool(tmp_path, OWNER, file_bytes_max=200, files_max=3)
    plain.append([f"m f={number}i" for number in range(500)])
    plain.close()
    device = Device(tmp_path)
    before = device.figures()
    assert before.points_lost == 0, "what was before it is not its business"
    assert before.points_written == before.spool_points < 60
    while device.ship():
        pass
    assert len(device.stored) == before.points_written


def test_points_that_may_have_arrived_outlive_their_file_and_a_kill(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.write(20)
    batch = device.progress.next_batch(5, 10_000)
    assert batch is not None
    device.take(batch)  # and no answer comes
    device.kill()
    device.write(500)
    device.kill()
    assert list(tmp_path.glob("*.held"))
    assert device.settle().points_sent == len(device.stored) > 5
    assert not list(tmp_path.glob("*.held"))


def test_points_that_certainly_did_not_arrive_leave_with_their_file(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.write(20)
    unsure = device.progress.unsure_place()
    assert device.progress.next_batch(5, 10_000) is not None
    device.progress.take_back(unsure)
    device.write(500)
    assert not list(tmp_path.glob("*.held"))
    device.settle()


def test_a_spool_whose_files_somebody_removed_is_gone_on_with(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.write(30)
    device.ship(points_max=3)
    device.spool.close()
    for path in [*list_files(tmp_path), tmp_path / f"{OWNER}.spool"]:
        path.unlink(missing_ok=True)
    device.start()
    device.spool.append(["m f=1000i"])
    while device.ship():
        pass
    assert b"m f=1000i" in device.stored


def test_a_damaged_cursor_sends_the_spool_again_rather_than_not_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device(tmp_path)
    device.write(8)
    device.ship()
    device.progress.cursor_path.write_bytes(b"")
    device.kill()
    device.stored.clear()
    while device.ship():
        pass
    assert len(device.stored) == 8
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("forgetful", [False, True], ids=["influxdb", "victoria-metrics"])
@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(one, marks=pytest.mark.long) for one in range(10, 40))])
def test_whatever_happens_every_point_is_counted_once(tmp_path: Path, seed: int, forgetful: bool) -> None:
    draw = random.Random(seed)
    device = Device(tmp_path, files_max=draw.randint(1, 4), forgetful=forgetful)
    for _ in range(300):
        action = draw.choice(["write", "write", "send", "arrive", "fail", "refuse", "kill", "restart", "figures"])
        if action == "write":
            device.write(draw.randint(1, 25))
        elif action == "kill":
            device.kill()
        elif action == "restart" and forgetful:
            durable = device.progress.snapshot() if draw.random() < 0.5 else None
            if durable is not None:
                device.progress.durable_from(durable)
            device.starts += 1  # it forgets nothing here, so that what was stored must be counted again
            device.progress.server_started(str(device.starts))
        elif action == "figures":
            assert device.figures().points_written == device.written
        else:
            unsure = device.progress.unsure_place()
            batch = device.progress.next_batch(draw.randint(1, 12), draw.choice([30, 10_000]))
            if batch is None:
                continue
            if draw.random() < 0.3:
                device.write(draw.randint(1, 60))  # while it is in the air
            if action == "send":
                device.take(batch)
                device.progress.sent(batch)
            elif action == "arrive":
                device.take(batch)
            elif action == "fail":
                device.progress.take_back(unsure)
            elif not device.stored & set(batch.data.splitlines()) and not forgetful:
                device.refused |= set(batch.data.splitlines())
                device.progress.refused(batch)
    device.settle()
