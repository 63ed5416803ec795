"""Real processes whose clock is set while they run, by libfaketime, with a real database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from edge_agent.adapters.telemetry import read_points
from tests.adapters.telemetry_samples import times_in, until
from tests.support.databases import DatabaseServer
from tests.support.patience import PATIENCE_S

WAIT_S = PATIENCE_S
S, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9


RECORD = """
import asyncio, sys, time
from pathlib import Path
from edge_agent.adapters.telemetry import TelemetryServer
from tests.adapters.telemetry_samples import SESSION, STATUS, new_sink
async def main():
    sink = new_sink(Path(sys.argv[1]), servers=[TelemetryServer(sys.argv[2])], report_s=3600.0)
    for line in sys.stdin:
        sink.record_status(STATUS)
        for _ in range(9):
            sink.record_session(SESSION)
        print(int(time.time()), flush=True)
    await sink.stop()
asyncio.run(main())
"""


def faketime_library() -> str:
    from tests.conftest import missing

    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime is not installed: `make programs` as root on Debian")
    return str(found[0])


def ask(process: subprocess.Popen[str]) -> int:
    """Has ten points recorded, and returns what the process takes the time for."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


async def test_a_real_process_whose_clock_is_set_ahead_and_back_goes_on_with_the_right_time(
    influxdb: DatabaseServer, tmp_path: Path
) -> None:
    setting, folder = tmp_path / "faketime", tmp_path / "telemetry"
    setting.write_text("+0\n")
    environment = {
        **os.environ,
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 -- nothing else runs on the loop meanwhile
        [sys.executable, "-c", RECORD, str(folder), influxdb.url],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert abs(ask(process) - time.time()) < HOUR / S
        setting.write_text("+20d\n")
        assert ask(process) > time.time() + 19 * DAY / S
        setting.write_text("+0\n")
        assert abs(ask(process) - time.time()) < HOUR / S
        await until(lambda: len(times_in(influxdb)) == 18, WAIT_S)
        _, log = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
    now_ns = time.time_ns()
    ahead = [point for point in read_points(folder) if point.time_ns > now_ns + HOUR]
    assert len(ahead) == 10
    assert all(time_ns < now_ns + HOUR for time_ns in times_in(influxdb))
    assert "set ahead by 20.0 days" in log
    assert "set back by 20.0 days" in log
    assert "10 points refused" in log


AGENT = """
[device]
id = "dev-1"
data_dir = "{folder}"
[broker]
urls = ["mqtt://127.0.0.1:1"]
[engine]
kind = "synthetic"
[agent]
status_interval_s = 1.0
[[influx]]
url = "{url}"
"""


async def test_a_real_agent_whose_clock_is_set_ahead_and_back_goes_on_with_the_right_time(
    influxdb: DatabaseServer, tmp_path: Path
) -> None:
    setting, config, log = tmp_path / "faketime", tmp_path / "agent.toml", tmp_path / "log"
    setting.write_text("+0\n")
    config.write_text(AGENT.format(folder=tmp_path / "state", url=influxdb.url))
    environment = {
        **os.environ,
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }

    def count(condition: str) -> int:
        series = influxdb.influxql(f'SELECT COUNT("peers_alive") FROM "agent_queue" WHERE {condition}')
        return int(series[0]["values"][0][1]) if series else 0

    def ahead_on_disk() -> int:
        folder = tmp_path / "state" / "telemetry"
        return sum(point.time_ns > time.time_ns() + HOUR for point in read_points(folder)) if folder.exists() else 0

    with log.open("wb") as file:
        command = [sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(config)]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)  # noqa: ASYNC220 -- nothing else runs on the loop meanwhile
    try:
        await until(lambda: count("time > 0") >= 2, WAIT_S)
        setting.write_text("+20d\n")
        await until(lambda: ahead_on_disk() >= 2, WAIT_S)
        setting.write_text("+0\n")
        back_ns = time.time_ns()
        await until(lambda: count(f"time > {back_ns}") >= 2, WAIT_S)
        assert count(f"time > {time.time_ns() + HOUR}") == 0
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(WAIT_S)
    said = log.read_text()
    assert "set ahead by 20.0 days" in said
    assert "set back by 20.0 days" in said
    assert "points refused, set aside" in said
    assert "Traceback" not in said
