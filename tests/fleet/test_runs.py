"""Finding the fleet that is up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import RUN_FILE, RUNS_KEPT_MAX, announce, find_running, new_run_folder
from edge_agent.folders import state_folder

DEAD_PID = 2**22 + 1  # above the largest process id Linux gives


@pytest.fixture(autouse=True)
def own_state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_the_run_of_a_living_process_is_found() -> None:
    announce(new_run_folder(), "mqtt://127.0.0.1:1", "local", ("device-1",))
    running = find_running()
    assert running is not None
    assert (running.broker, running.mesh, running.devices) == ("mqtt://127.0.0.1:1", "local", ("device-1",))


def test_of_two_runs_the_newer_is_found() -> None:
    for number, seconds in ((1, 1000), (2, 2000)):
        folder = new_run_folder()
        announce(folder, f"mqtt://127.0.0.1:{number}", "local", ())
        os.utime(folder / RUN_FILE, (seconds, seconds))
    running = find_running()
    assert running is not None
    assert running.broker == "mqtt://127.0.0.1:2"


@pytest.mark.parametrize("change", [{"pid": DEAD_PID}, {"pid_started": 1}])
def test_the_run_of_a_dead_or_other_process_is_not(change: dict[str, object]) -> None:
    folder = new_run_folder()
    announce(folder, "mqtt://127.0.0.1:1", "local", ())
    fields = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    (folder / RUN_FILE).write_text(json.dumps(fields | change), encoding="utf-8")
    assert find_running() is None


@pytest.mark.parametrize("change", [{"devices": 3}, {"more": 1}])
def test_a_damaged_record_of_a_living_run_is_said_and_one_of_a_run_long_over_is_not(change: dict[str, object]) -> None:
    folder = new_run_folder()
    announce(folder, "mqtt://127.0.0.1:1", "local", ())
    fields = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    (folder / RUN_FILE).write_text(json.dumps(fields | change), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"run\.json: damaged; stop the `moamesh up` that wrote it"):
        find_running()
    folder.rename(folder.with_name(f"{DEAD_PID}-000000"))
    assert find_running() is None


def test_folders_of_ended_runs_are_removed_but_the_last_ones_and_the_living() -> None:
    living = new_run_folder()
    ended = []
    for number in range(RUNS_KEPT_MAX + 3):
        folder = state_folder() / "runs" / f"{DEAD_PID}-{number:06}"
        folder.mkdir()
        os.utime(folder, (1000 + number, 1000 + number))
        ended.append(folder)
    new_run_folder()
    assert living.exists()
    assert [folder for folder in ended if folder.exists()] == ended[-RUNS_KEPT_MAX:]
