"""Two minutes of chaos on real processes, with a fixed seed: `make chaos` is the same for as long as you like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chaos.sandbox import CannotRunError, check_needs
from tests.chaos.world import FAKETIME
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
SEED, KILLS = 2026, 40
"""So many kills, and 35 other faults between them, take two minutes on two quiet cores; on slow ones they take longer:
the run ends with the last fault, not with a time."""


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """Not `tmp_path`, which may lie in /dev/shm: of that each run has one of its own."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.timeout(3600)  # only a hang runs into it
def test_everything_accepted_is_ended_and_told_whatever_is_killed_stopped_filled_or_cut(on_disk: Path) -> None:
    try:
        check_needs(("mosquitto", "influxd"))
    except CannotRunError as error:
        missing(str(error))
    if not FAKETIME:
        missing("libfaketime is not installed: `make programs` as root on Debian")
    command = [sys.executable, "-m", "tests.chaos", "--json", "--keep", str(on_disk)]
    command += ["--seed", str(SEED), "--kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr[-4000:]
    summary = json.loads(done.stdout)
    assert summary["violations"] == [], f"seed {SEED}: {summary}"
    assert done.returncode == 0
    assert summary["faults"]["kill -9"] + summary["faults_missed"]["kill -9"] == KILLS
    assert summary["accepted"] == summary["ended"] == summary["told"] > 0
    assert sum(summary["outcomes"].values()) > 0


def test_a_folder_that_a_run_would_not_see_is_refused() -> None:
    with pytest.raises(CannotRunError, match="name a folder elsewhere"):
        check_needs((), Path("/dev/shm/kept"))


def test_nor_may_the_folder_for_temporary_files_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/shm")
    with pytest.raises(CannotRunError, match="name a folder elsewhere"):
        check_needs(())
