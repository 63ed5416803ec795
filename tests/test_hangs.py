"""What is slow is waited for, what hangs is found: by what the processes do, in a time that has a bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import pytest

from edge_agent.hangs import (
    COMPUTED_MAX_S,
    LOOK_COUNTED_MAX_S,
    LOOK_S,
    OURSELVES,
    WAITED_MAX_S,
    Activity,
    HangDetector,
    HangError,
    activity_of,
)
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

STILL_MAX_S = 20.0
PID = 7


class Machine:
    """One process, as the shares of each second that it spends, and ourselves who wait for it."""

    def __init__(
        self,
        computes: float = 0.0,
        queues: float = 0.0,
        on_disk: bool = False,
        we_queue: float = 0.0,
        known: bool = True,
    ) -> None:
        self.now = 0.0
        self.shares = (computes, queues, on_disk, we_queue)
        self.known = known

    def doing(self, pids: Iterable[int]) -> dict[int, Activity]:
        if not self.known:
            return {}
        computes, queues, on_disk, we_queue = self.shares
        ours = {OURSELVES: Activity(0.1 * self.now, we_queue * self.now, False)}
        return ours | {pid: Activity(computes * self.now, queues * self.now, on_disk) for pid in pids}

    def found(self, step_s: float = LOOK_S, limit_s: float = 10 * WAITED_MAX_S) -> tuple[float, str]:
        """When it is found to hang, and how."""
        detector = HangDetector(lambda: [PID, None], STILL_MAX_S, now=lambda: self.now, doing=self.doing)
        while self.now < limit_s:
            self.now += step_s
            if how := detector.look():
                return self.now, how
        raise AssertionError("never found")


@pytest.mark.parametrize(
    ("machine", "at_s", "how"),
    [
        pytest.param(Machine(), STILL_MAX_S, "did nothing", id="stopped, or all its threads wait for each other"),
        pytest.param(Machine(computes=0.01), 1.2 * STILL_MAX_S, "did nothing", id="hung, with timers that still run"),
        pytest.param(Machine(computes=1.0), COMPUTED_MAX_S, "computed for", id="runs in a circle"),
        pytest.param(Machine(computes=4.0), COMPUTED_MAX_S / 4, "computed for", id="does so on four processors"),
        pytest.param(Machine(computes=0.25, queues=0.75), 4 * COMPUTED_MAX_S, "computed for", id="a quarter of one"),
        pytest.param(Machine(computes=0.02, queues=0.98), WAITED_MAX_S, "no answer for", id="a fiftieth of one"),
        pytest.param(Machine(computes=0.12), WAITED_MAX_S, "no answer for", id="slow, where nobody says who queues"),
        pytest.param(Machine(on_disk=True), WAITED_MAX_S, "no answer for", id="its disk never answers"),
        pytest.param(Machine(we_queue=0.9), 10 * STILL_MAX_S, "did nothing", id="we had hardly a processor to ask it"),
        pytest.param(Machine(known=False), STILL_MAX_S, "did nothing", id="a system that says nothing"),
    ],
)
def test_it_is_found_when_it_hangs_and_not_before(machine: Machine, at_s: float, how: str) -> None:
    found_at, said = machine.found()
    assert how in said
    assert found_at == pytest.approx(at_s, rel=0.1)


def test_a_pause_of_our_own_is_not_held_against_it() -> None:
    machine = Machine()
    assert machine.found(step_s=60.0)[0] == pytest.approx(60.0 * STILL_MAX_S / LOOK_COUNTED_MAX_S)


def test_an_answer_begins_it_anew() -> None:
    machine = Machine()
    detector = HangDetector(lambda: [PID], STILL_MAX_S, now=lambda: machine.now, doing=machine.doing)
    for _ in range(10):
        for _ in range(30):  # 15 s
            machine.now += LOOK_S
            assert detector.look() == ""
        detector.begin()


@pytest.fixture
def run() -> Iterator[Callable[[str], int]]:
    running: list[subprocess.Popen[bytes]] = []

    def run(script: str) -> int:
        running.append(subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True))
        return running[-1].pid

    yield run
    for one in running:
        os.killpg(one.pid, signal.SIGKILL)
        one.wait()


async def test_what_a_grandchild_computes_counts_for_the_one_that_is_waited_for(run: Callable[[str], int]) -> None:
    pid = run(f"{sys.executable} -c 'while True: pass' & wait")

    def worked() -> bool:
        doing = activity_of([pid])
        return sum(one.computed_s + one.queued_s for own, one in doing.items() if own != OURSELVES) > 0.5

    await until(worked, "it computed, or waited for its turn", PATIENCE_S)
    assert pid in activity_of([pid])


async def test_one_that_was_stopped_is_found_though_others_work(run: Callable[[str], int]) -> None:
    run("while :; do :; done")
    pid = run("exec sleep 1000")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(HangError, match="did nothing for 1 s"):
        await HangDetector(lambda: [pid], 1.0).found()


def test_a_process_that_is_gone_has_done_nothing(run: Callable[[str], int]) -> None:
    assert set(activity_of([2**22 + 1])) == {OURSELVES}
    assert set(activity_of([])) == {OURSELVES}
