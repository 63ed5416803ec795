from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from edge_agent.adapters.telemetry import Point, TelemetryServer, read_points
from edge_agent.adapters.telemetry.files import list_files
from edge_agent.adapters.telemetry.spool import Spool
from edge_agent.core.errors import SettingsError
from edge_agent.wire.line_protocol import encode
from tests.adapters.telemetry_samples import REQUEST, SESSION, STATUS, new_sink, until
from tests.support.faulty_database import FaultyDatabase
from tests.support.patience import PATIENCE_S


async def test_what_is_recorded_is_read_back_with_its_tags_fields_and_types(tmp_path):
    sink = new_sink(tmp_path)
    sink.record_status(STATUS)
    sink.record_request(REQUEST)
    sink.record_session(SESSION)
    await sink.stop()

    queue, request, session = read_points(tmp_path)
    assert queue.measurement == "agent_queue"
    assert queue.tags == {"mesh": "home", "device_id": "dev-1", "model": "smollm2 135m, q8=0"}
    promised = "requests_waiting requests_running requests_waiting_mean queue_capacity arrival_rate_hz utilisation"
    promised += " service_time_s_mean stability_margin accepted completed rejected expired cancelled"
    for name in promised.split():
        value = getattr(STATUS, name)
        assert (queue.fields[name], type(queue.fields[name])) == (value, type(value))
    assert queue.fields["synthetic"] == 0

    assert request.measurement == "agent_request"
    assert request.tags == {
        "mesh": "home",
        "device_id": "dev-1",
        "model": "smollm2",
        "role": "proposer",
        "outcome": "completed",
    }
    assert request.fields == {
        "waiting_time_s": 0.5,
        "service_time_s": 1.0,
        "sojourn_time_s": 1.5,
        "time_to_first_token_s": 0.125,
        "input_tokens": 40,
        "output_tokens": 50,
    }
    assert session.measurement == "agent_session"
    assert session.tags == {"mesh": "home", "device_id": "dev-1", "outcome": "answered"}
    assert session.fields == {
        "layer_count": 2,
        "fanout": 2,
        "end_to_end_latency_s": 12.0,
        "responses_expected": 6,
        "responses_joined": 5,
        "substitutes": 1,
    }
    assert sink.dropped == 0


async def test_a_whole_number_of_seconds_stays_a_float_in_the_file(tmp_path):
    sink = new_sink(tmp_path)
    sink.record_request(replace(REQUEST, waiting_time_s=0, service_time_s=3.0))  # a zero that came as an integer
    await sink.stop()
    (line,) = list_files(tmp_path)[0].read_text().splitlines()
    assert "waiting_time_s=0.0," in line
    assert "service_time_s=3.0," in line
    assert "input_tokens=40i," in line


async def test_no_two_points_share_a_time_and_time_never_runs_back(tmp_path):
    walls_us = [1_000, 1_000, 1_400, 1_900, 5_000, 400, 300, 10_500]  # the first is read when the sink is made
    monotonics_us = [0, 10, 20, 500, 600, 1_600, 3_700, 3_800]
    walls, monotonics = ((us * 1_000 for us in times) for times in (walls_us, monotonics_us))
    sink = new_sink(tmp_path, wall_ns=lambda: next(walls), monotonic_ns=lambda: next(monotonics))
    for _ in range(7):
        sink.record_session(SESSION)
    await sink.stop()
    # points within a millisecond are one apart; after the wall clock was set back, time goes on at half the pace
    assert [point.time_ns / 1e6 for point in read_points(tmp_path)] == [1, 2, 3, 5, 6, 7, 10]


async def test_a_restart_with_the_clock_set_back_repeats_no_time(tmp_path):
    hour_ns = 3600 * 10**9
    for wall_ns in (100 * hour_ns, 100 * hour_ns - hour_ns // 2):
        sink = new_sink(tmp_path, wall_ns=lambda wall_ns=wall_ns: wall_ns, monotonic_ns=lambda: 0)
        for _ in range(3):
            sink.record_session(SESSION)
        await sink.stop()
    assert [point.time_ns // 10**6 - 100 * hour_ns // 10**6 for point in read_points(tmp_path)] == [0, 1, 2, 3, 4, 5]


async def test_a_clock_that_was_far_ahead_once_is_not_followed_for_ever(tmp_path):
    for year in (2040, 2026):
        wall_ns = (year - 1970) * 365 * 24 * 3600 * 10**9
        sink = new_sink(tmp_path, wall_ns=lambda wall_ns=wall_ns: wall_ns, monotonic_ns=lambda: 0)
        sink.record_session(SESSION)
        await sink.stop()
    wrong, right = (point.time_ns for point in read_points(tmp_path))
    assert (wrong, right) == tuple((year - 1970) * 365 * 24 * 3600 * 10**9 for year in (2040, 2026))


async def test_a_burst_runs_ahead_and_the_clock_catches_up(tmp_path):
    walls_ms = [1000] * 51 + [1020, 1060]
    walls = (ms * 10**6 for ms in walls_ms)
    sink = new_sink(tmp_path, wall_ns=lambda: next(walls), monotonic_ns=lambda: 0)
    for _ in range(52):
        sink.record_session(SESSION)
    await sink.stop()
    times_ms = [point.time_ns // 10**6 for point in read_points(tmp_path)]
    assert times_ms == [*range(1000, 1051), 1060]


async def test_the_sink_tells_what_became_of_the_points_of_each_database(tmp_path):
    with FaultyDatabase().serving() as database:
        servers = [TelemetryServer(database.url), TelemetryServer("http://127.0.0.1:1", database="other")]
        sink = new_sink(tmp_path, servers=servers, report_s=0.1)
        sink.record_session(SESSION)
        await until(lambda: sum(point.measurement == "agent_telemetry" for point in read_points(tmp_path)) >= 4)
        await sink.stop()
    told = [point for point in read_points(tmp_path) if point.measurement == "agent_telemetry"]
    names = {f"points_{what}" for what in ("written", "sent", "lost", "refused", "dropped")}
    last = {point.tags["server"]: point for point in told}
    assert set(last) == {f"{database.url.removeprefix('http://')}/moamesh", "127.0.0.1:1/other"}
    for point in told:
        assert point.tags.keys() == {"mesh", "device_id", "server"}
        assert set(point.fields) == names | {"spool_points", "spool_bytes"}
        assert all(isinstance(value, int) for value in point.fields.values())
        numbers = point.fields
        parts = numbers["points_sent"] + numbers["points_lost"] + numbers["points_refused"] + numbers["spool_points"]
        assert numbers["points_written"] == parts
    down = last["127.0.0.1:1/other"].fields
    assert down["points_sent"] == 0
    assert down["spool_bytes"] > 100


async def test_without_a_database_nothing_of_its_client_is_loaded(tmp_path):
    program = (
        "import sys, edge_agent.runtime.assemble\n"
        "print([name for name in ('influxdb_client', 'urllib3', 'httpx') if name in sys.modules])"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_database_without_its_client_is_one_line_with_the_command_that_mends_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "influxdb_client", None)
    with pytest.raises(SettingsError, match=r"\[\[influx\]\] needs a package: pip install 'moamesh\[influx\]'"):
        new_sink(tmp_path, servers=[TelemetryServer("http://127.0.0.1:1")])


async def test_numbers_that_are_not_finite_cost_their_field_and_not_the_point(tmp_path):
    sink = new_sink(tmp_path)
    sink.record_status(replace(STATUS, utilisation=float("inf"), service_time_s_mean=float("nan")))
    await sink.stop()
    (point,) = read_points(tmp_path)
    assert not {"utilisation", "service_time_s_mean"} & set(point.fields)
    assert point.fields["accepted"] == 10


async def test_files_rotate_at_their_size_and_the_oldest_leave(tmp_path):
    sink = new_sink(tmp_path, file_bytes_max=4_000, files_max=3, buffer_points_max=5_000)
    for number in range(1_000):
        sink.record_session(replace(SESSION, substitutes=number))
    await sink.stop()
    files = list_files(tmp_path)
    assert len(files) == 3
    assert all(file.stat().st_size <= 4_000 for file in files)
    kept = [point.fields["substitutes"] for point in read_points(tmp_path)]
    assert kept == list(range(1_000 - len(kept), 1_000))
    assert 30 < len(kept) < 100


async def test_a_restarted_sink_goes_on_in_the_same_file(tmp_path):
    for number in range(3):
        sink = new_sink(tmp_path)
        sink.record_session(replace(SESSION, substitutes=number))
        await sink.stop()
    assert len(list_files(tmp_path)) == 1
    assert [point.fields["substitutes"] for point in read_points(tmp_path)] == [0, 1, 2]


async def test_devices_may_share_a_folder(tmp_path):
    sinks = [new_sink(tmp_path, device_id=f"dev-{number}") for number in range(3)]
    for sink in sinks:
        sink.record_session(SESSION)
    for sink in sinks:
        await sink.stop()
    assert [point.tags["device_id"] for point in read_points(tmp_path)] == ["dev-0", "dev-1", "dev-2"]


async def test_a_line_cut_short_by_a_crash_is_never_read_as_a_point(tmp_path, caplog):
    path = tmp_path / "dev-1.00000001.lp"
    whole = encode(Point("agent_session", {"mesh": "home"}, {"substitutes": 1}, 1_700_000_000_000_000_000))
    path.write_text(f"{whole}\n{whole[:-9]}")
    assert len(list(read_points(tmp_path))) == 1
    sink = new_sink(tmp_path)
    sink.record_session(SESSION)
    await sink.stop()
    assert [point.fields["substitutes"] for point in read_points(tmp_path)] == [1, 1]
    assert path.read_text().count("\n") == 2
    assert caplog.text == ""


def test_a_damaged_line_is_skipped_and_named(tmp_path, caplog):
    path = tmp_path / "dev-1.00000001.lp"
    path.write_bytes(b"\xff\xfe rubbish\nagent_session,mesh=home substitutes=1i 5\nm f=abc 5\nm f=1i\n")
    (point,) = read_points(tmp_path)
    assert point == Point("agent_session", {"mesh": "home"}, {"substitutes": 1}, 5)
    assert [f"{path}:{number}" in caplog.text for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_a_folder_that_does_not_exist_holds_no_points(tmp_path):
    assert list(read_points(tmp_path / "nowhere")) == []


async def test_a_full_buffer_drops_and_counts(tmp_path):
    sink = new_sink(tmp_path, buffer_points_max=10)
    real_append, disk, first = sink._spool.append, threading.Event(), threading.Event()

    def append_when_the_disk_is_back(lines):
        first.set()
        disk.wait(timeout=PATIENCE_S)
        real_append(lines)

    sink._spool.append = append_when_the_disk_is_back
    sink.record_session(SESSION)
    assert await asyncio.to_thread(first.wait, PATIENCE_S)
    for _ in range(25):
        sink.record_session(SESSION)
    assert sink.dropped == 15
    disk.set()
    await sink.stop()
    assert len(list(read_points(tmp_path))) == 11
    sink.record_session(SESSION)
    assert sink.dropped == 16


async def test_a_disk_that_refuses_costs_points_and_nothing_else(tmp_path, caplog):
    folder = tmp_path / "telemetry"
    folder.write_text("a file in the way")
    sink = new_sink(folder)
    for expected in (1, 2):
        sink.record_session(SESSION)
        await until(lambda expected=expected: sink.dropped == expected)
    assert caplog.text.count("telemetry to") == 1, "one line for one trouble"
    folder.unlink()
    sink.record_session(SESSION)
    await until(lambda: len(list(read_points(folder))) == 1)
    await sink.stop()
    assert sink.dropped == 2


async def test_recording_does_not_wait_for_a_disk_that_hangs(tmp_path):
    sink = new_sink(tmp_path)
    real_append, disk = sink._spool.append, threading.Event()

    def append_when_the_disk_is_back(lines):
        disk.wait(timeout=PATIENCE_S)
        real_append(lines)

    sink._spool.append = append_when_the_disk_is_back
    for _ in range(1_000):
        sink.record_session(SESSION)
    assert list(read_points(tmp_path)) == []
    disk.set()
    await sink.stop()
    assert (len(list(read_points(tmp_path))), sink.dropped) == (1_000, 0)


async def test_something_in_the_place_of_a_file_costs_points_and_nothing_else(tmp_path):
    os.mkfifo(tmp_path / "dev-1.00000001.lp")
    sink = new_sink(tmp_path)
    sink.record_session(SESSION)
    await until(lambda: sink.dropped == 1)
    await sink.stop()


async def test_stopping_twice_or_without_a_point_is_harmless_and_leaves_no_thread(tmp_path):
    unused = new_sink(tmp_path)
    await unused.stop()
    used = new_sink(tmp_path)
    used.record_session(SESSION)
    await used.stop()
    await used.stop()
    assert not any(thread.name == "telemetry" for thread in threading.enumerate())
    gc.collect()  # an open file would warn, and warnings are errors


async def test_an_idle_sink_never_wakes_up(tmp_path):
    sink = new_sink(tmp_path)
    sink.record_session(SESSION)
    await until(lambda: list(read_points(tmp_path)))
    wakeups = []
    sink._spool.append = wakeups.append
    await asyncio.sleep(0.2)
    assert wakeups == []
    await sink.stop()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.adapters.telemetry_samples import SESSION, new_sink
from edge_agent.adapters.telemetry import read_points
folder = Path(sys.argv[1])
sink = new_sink(folder)
for _ in range(5_000):
    sink.record_session(SESSION)
while not any(True for _ in read_points(folder)):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_files_that_read_cleanly(tmp_path, caplog):
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    points = list(read_points(tmp_path))
    assert points
    assert all(point.fields["responses_joined"] == 5 for point in points)
    assert caplog.text == ""


def test_a_write_that_fails_midway_leaves_whole_lines(tmp_path, monkeypatch):
    files = Spool(tmp_path, "dev-1", file_bytes_max=10_000, files_max=2)
    files.append(["first f=1i 1"])
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:7]))
    with pytest.raises(OSError, match="only 7 of"):
        files.append(["second f=2i 2"])
    monkeypatch.undo()
    files.append(["third f=3i 3"])
    files.close()
    assert [point.measurement for point in read_points(tmp_path)] == ["first", "third"]


async def test_a_record_that_no_line_can_say_is_counted_and_the_next_one_is_kept(tmp_path, caplog):
    sink = new_sink(tmp_path)
    sink.record_session(replace(SESSION, substitutes="many"))
    sink.record_session(SESSION)
    await sink.stop()
    assert [point.fields["substitutes"] for point in read_points(tmp_path)] == [SESSION.substitutes]
    assert sink.dropped == 1
    assert "line protocol cannot express it" in caplog.text


@pytest.mark.parametrize("left", [b"agent_session f", b"\0" * 300_000, b"x" * 65_536, b"y" * 131_071])
def test_what_a_power_cut_left_of_a_last_line_is_removed_however_long(tmp_path, left):
    path = tmp_path / "dev-1.00000001.lp"
    path.write_bytes(b"first f=1i 1\n" + left)
    files = Spool(tmp_path, "dev-1", file_bytes_max=1_000_000, files_max=2)
    files.append(["second f=2i 2"])
    files.close()
    assert path.read_bytes() == b"first f=1i 1\nsecond f=2i 2\n"
