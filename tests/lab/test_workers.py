"""Processes that share a study end with the one that began them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edge_agent.lab.workers import worker_pool
from tests.support.patience import PATIENCE_S

PROGRAM = """\
import os, sys, time
from edge_agent.lab.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(50)}, flush=True)
        pool.submit(time.sleep, 3600)
        sys.stdin.read()
"""


def test_what_they_return_comes_back() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_they_end_when_it_is_killed(tmp_path: Path, signal: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert workers
        all_of_it = psutil.Process(parent.pid).children(recursive=True)
        parent.kill() if signal == "SIGKILL" else parent.terminate()
        parent.wait(PATIENCE_S)
        _, alive = psutil.wait_procs([*workers, *all_of_it], timeout=PATIENCE_S)
    assert alive == []
