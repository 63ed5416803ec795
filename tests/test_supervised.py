"""A child that is kept running: whatever ends it, with pauses that grow, and told when it ends again and again."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest

from edge_agent.children import ChildProcess, ChildStartError, Supervised, supervised
from tests.support.polling import until


async def _answers(timeout_s: float) -> bool:
    return True


def _child(tmp_path: Path, told: list[str]) -> Supervised:
    """A program that runs for long, unless a file says that it is broken."""
    script = f'if [ -e "{tmp_path}/broken" ]; then echo "it is broken"; exit 1; fi; exec sleep 1000'
    return Supervised("cook", ["/bin/sh", "-c", script], tmp_path / "cook.log", _answers, on_problem=told.append)


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


class Doctor:
    """Asks a child that takes `takes_s` to answer, in seconds that pass at once."""

    def __init__(self) -> None:
        self.takes_s = 0.0
        self.asked: list[float] = []
        self.answered = 0

    async def answers(self, timeout_s: float) -> bool:
        self.asked.append(timeout_s)
        await asyncio.sleep(0.01)
        answers = timeout_s >= self.takes_s
        self.answered += answers
        return answers


def _computing(tmp_path: Path, doctor: Doctor) -> Supervised:
    command = [sys.executable, "-c", "while True: pass"]
    return Supervised("cook", command, tmp_path / "cook.log", doctor.answers)


async def test_one_that_computes_is_slow_and_not_hung_at_its_start_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("START_STILL_S", 0.3), ("RUN_STILL_S", 0.3), ("HEALTH_INTERVAL_S", 0.01)):
        monkeypatch.setattr(supervised, name, value)
    doctor = Doctor()
    doctor.takes_s = float("inf")
    child = _computing(tmp_path, doctor)
    starting = asyncio.create_task(child.start())
    for _ in range(2):
        await asyncio.sleep(2.0)  # not a wait for something: it is many times what a hang may last here
        doctor.takes_s, answered = 0.0, doctor.answered
        await starting
        await until(lambda answered=answered: doctor.answered > answered + 1, "it is well")  # type: ignore[misc]  # bound now
        doctor.takes_s = float("inf")
    assert child.restarts == 0
    await child.stop()


async def test_a_machine_on_which_an_answer_takes_long_is_asked_more_patiently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor = Doctor()
    doctor.takes_s = 40.0
    child = _computing(tmp_path, doctor)
    monotonic = asyncio.get_running_loop().time

    async def answers(timeout_s: float) -> bool:
        """As the doctor says; the time that it takes is made to pass by setting the clock."""
        nonlocal ahead_s
        ahead_s += min(timeout_s, doctor.takes_s)
        return await doctor.answers(timeout_s)

    ahead_s = 0.0
    child._answers = answers
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: monotonic() + ahead_s)
    while not await child._asked():
        pass
    assert [round(asked) for asked in doctor.asked] == [3, 4, 7, 10, 15, 23, 34, 51]
    await child._asked()
    assert doctor.asked[-1] == supervised.ASK_MAX_S
    doctor.takes_s = 0.1
    await child._asked()
    await child._asked()
    assert doctor.asked[-1] == supervised.ASK_FIRST_S


async def test_one_that_stands_still_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RUN_STILL_S", 1.0), ("HEALTH_INTERVAL_S", 0.01)):
        monkeypatch.setattr(supervised, name, value)
    doctor = Doctor()
    child = _computing(tmp_path, doctor)
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    doctor.takes_s = float("inf")
    await until(lambda: not child.restarts and child._lock.locked(), "its hang is seen")
    doctor.takes_s = 0.0
    await until(lambda: child.restarts == 1 and child.running, "it was started again")
    await child.stop()


async def test_a_start_that_was_asked_for_is_not_taken_for_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RUN_STILL_S", 0.3), ("HEALTH_INTERVAL_S", 0.01), ("WATCH_S", 0.01)):
        monkeypatch.setattr(supervised, name, value)
    doctor = Doctor()
    told: list[str] = []
    child = Supervised("cook", ["sleep", "1000"], tmp_path / "cook.log", doctor.answers, on_problem=told.append)
    await child.start()
    doctor.takes_s = float("inf")
    restarting = asyncio.create_task(child.restart())
    await asyncio.sleep(2.0)  # not a wait for something: it is many times what a hang may last here
    doctor.takes_s = 0.0
    await restarting
    pid, answered = child.pid, doctor.answered
    await until(lambda: doctor.answered > answered + 2, "it is asked again")
    assert (child.pid, child.restarts, told) == (pid, 0, [])
    await child.stop()


async def test_a_start_that_stands_still_fails_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "START_STILL_S", 1.0)
    doctor = Doctor()
    doctor.takes_s = float("inf")
    child = Supervised("cook", ["sleep", "1000"], tmp_path / "cook.log", doctor.answers)
    with pytest.raises(ChildStartError, match="cook does not answer: it did nothing for 1 s: its log is empty"):
        await child.start()
    assert not child.running


async def test_one_that_is_about_its_end_may_finish_and_one_that_is_not_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved"
    saves = "import signal,sys,time\ndef end(*_):\n while time.process_time() < 2: pass\n"
    saves += f" open({str(saved)!r}, 'w'); sys.exit()\n"
    saves += "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\nwhile True: time.sleep(0.01)"
    child = ChildProcess([sys.executable, "-c", saves], tmp_path / "saves.log", stop_still_s=1.0)
    await child.start()
    await until(lambda: child.tail() == "up", "it runs")
    await child.stop()
    assert saved.exists()
    ignores = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\n"
    deaf = ChildProcess([sys.executable, "-c", f"{ignores}time.sleep(1000)"], tmp_path / "deaf.log", stop_still_s=1.0)
    await deaf.start()
    await until(lambda: deaf.tail() == "up", "it runs")
    await deaf.stop()
    assert not deaf.running
