"""A child that is kept running: whatever ends it, with pauses that grow, and told when it ends again and again."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path

import pytest

from broker import supervised
from broker.supervised import Supervised
from tests.support.polling import until


async def _answers() -> bool:
    return True


def _child(tmp_path: Path, told: list[str]) -> Supervised:
    """A program that runs for long, unless a file says that it is broken."""
    script = f'if [ -e "{tmp_path}/broken" ]; then echo "it is broken"; exit 1; fi; exec sleep 1000'
    return Supervised("cook", ["/bin/sh", "-c", script], tmp_path / "cook.log", _answers, told=told.append)


async def test_a_child_that_dies_at_once_again_and_again_is_told_and_well_once_it_runs_steadily(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "PAUSE_MAX_S", 0.4)
    told: list[str] = []
    child = _child(tmp_path, told)
    await child.start()
    (tmp_path / "broken").touch()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: any("it is broken" in line for line in told), "what it said last is told")
    assert all("\n" not in line for line in told)
    (tmp_path / "broken").unlink()
    await until(lambda: child.running and child.restarts >= 1, "it came back")
    assert told[-1] != "", "one that may end in the next moment is not well"
    monkeypatch.setattr(supervised, "STEADY_S", 0.2)
    await until(lambda: told[-1] == "", "it runs steadily")
    await child.stop()
    assert not child.running


async def test_one_end_of_a_child_that_ran_for_long_is_mended_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "STEADY_S", 0.0)
    told: list[str] = []
    child = _child(tmp_path, told)
    await child.start()
    await asyncio.sleep(0.3)  # not a wait for something: it runs for long
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.restarts == 1 and child.running, "it was started again")
    await child.stop()
    assert told == []


async def test_pauses_between_starts_grow_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "PAUSE_MAX_S", 0.4)
    loop, told = asyncio.get_running_loop(), list[str]()
    tries: list[float] = []
    child = _child(tmp_path, told)
    started = child._start

    async def start() -> None:
        tries.append(loop.time())
        await started()

    await child.start()
    monkeypatch.setattr(child, "_start", start)
    (tmp_path / "broken").touch()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: len(tries) >= 5, "five tries")
    await child.stop()
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries[:5])]
    # each bounds the haste, not the machine's speed
    assert all(gap >= least for gap, least in zip(gaps, (0.4, 0.4, 0.4, 0.4), strict=True)), gaps
