"""A report is not fooled by points of a clock that was wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.telemetry import Point, read_points
from edge_agent.cli.main import app
from edge_agent.cli.stability.times import TimeFilter
from edge_agent.wire.line_protocol import encode
from edge_agent.wire.measurements import to_point
from tests.adapters.telemetry_samples import REQUEST, SESSION, STATUS

S, DAY = 10**9, 86_400 * 10**9


def session(time_ns: int, device: str = "dev-1", mesh: str = "home") -> Point:
    return Point("agent_session", {"mesh": mesh, "device_id": device}, {"substitutes": 1}, time_ns)


def test_points_of_the_future_and_of_a_clock_that_was_not_set_are_left_out_and_counted() -> None:
    now_ns = time.time_ns()
    times = TimeFilter(lambda: now_ns)
    good = [session(now_ns), session(now_ns + 1800 * S), session(now_ns - 900 * DAY)]
    bad = [session(now_ns + 20 * DAY), session(now_ns + 2 * 3600 * S), session(5, "dev-2")]
    simulated = session(now_ns + 900 * DAY, mesh="simulated")
    assert list(times.passed([bad[2], good[0], *bad[:2], *good[1:], simulated])) == [*good, simulated]
    ahead, unset = times.notes()
    assert ahead.startswith("left out 2 points of dev-1 that are up to 20.0 days ahead")
    assert unset == "left out 1 points of dev-2 from before 2020: its clock had not been set"


def test_a_mesh_that_never_knew_the_time_is_reported_as_it_is() -> None:
    times = TimeFilter()
    early = [session(5 * S), session(6 * S)]
    assert list(times.passed(early)) == early
    assert times.notes() == []


@pytest.mark.parametrize("since", [None, "1h"])
def test_a_report_is_the_same_with_and_without_points_of_the_future(tmp_path: Path, since: str | None) -> None:
    now_ns = time.time_ns()
    figures = []
    for name, wrong_ns in (("right", []), ("wrong", [now_ns + 20 * DAY, now_ns + 20 * DAY + S, 7 * S])):
        folder = tmp_path / name
        folder.mkdir()
        times_ns = sorted([*wrong_ns[2:], *(now_ns - second * S for second in range(600, 0, -5)), *wrong_ns[:2]])
        lines = [
            encode(to_point(record, mesh="home", device_id="dev-1", model="m", time_ns=time_ns + at))
            for time_ns in times_ns
            for at, record in enumerate((STATUS, REQUEST, SESSION))
        ]
        (folder / "dev-1.00000001.lp").write_text("".join(f"{line}\n" for line in lines))
        assert len(list(read_points(folder))) == len(lines)
        command = ["stability", "--telemetry", str(folder), "--json", *(["--since", since] if since else [])]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        figures.append(json.loads(result.stdout))
        assert ("left out 6 points of dev-1" in result.stderr) == bool(wrong_ns)
    assert figures[0] == figures[1]
