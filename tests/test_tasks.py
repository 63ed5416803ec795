"""Long-lived tasks: whatever ends one is seen, told, and mended after a pause."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging

import pytest

from edge_agent.tasks import OvertakenError, Pauses, TaskSupervisor, describe, together, unless, within
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

QUICK = Pauses(min_s=0.001, max_s=0.004, steady_s=0.02)


async def _raise() -> None:
    raise LookupError("the first line\nand a second one")


async def _end() -> None:
    """Work that was never to end."""


async def _cancelled_from_within() -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def _group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_raise())


ENDS = {
    "an exception": (_raise, "LookupError: the first line"),
    "an end by itself": (_end, "ended by itself"),
    "a cancellation that nobody asked for": (_cancelled_from_within, "was cancelled from within"),
    "a group": (_group, "ExceptionGroup"),
}


@pytest.mark.parametrize("how", ENDS)
async def test_an_unforeseen_end_is_told_and_the_work_begins_anew(how: str, caplog: pytest.LogCaptureFixture) -> None:
    ending, words = ENDS[how]
    told: list[str] = []
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun <= 3:
            await ending()
        else:
            await asyncio.Event().wait()

    supervisor = TaskSupervisor("cellar", told.append, QUICK)
    supervisor.keep("digging", work)
    await until(lambda: begun == 4, "it is begun for the fourth time")
    await until(lambda: told[-1:] == [""], "it is well again")
    assert supervisor.ends == 3
    assert [words in line and "\n" not in line for line in told[:-1]] == [True] * 3
    assert sum(record.levelno >= logging.ERROR and "digging" in record.getMessage() for record in caplog.records) == 3
    await supervisor.stop()


async def test_pauses_grow_up_to_a_bound_and_begin_anew_after_steady_work() -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def work() -> None:
        begun.append(loop.time())
        if len(begun) == 5:
            await asyncio.sleep(0.3)
        raise LookupError

    supervisor = TaskSupervisor("cellar", pauses=Pauses(min_s=0.05, max_s=0.2, steady_s=0.25))
    supervisor.keep("digging", work)
    await until(lambda: len(begun) == 7, "seven beginnings")
    await supervisor.stop()
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    # below each is a bound on the machine's haste, not on its speed
    assert all(pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.2, 0.35, 0.1), strict=True))


async def test_one_that_is_ill_is_not_hidden_by_another_that_is_well_again() -> None:
    told: list[str] = []
    let = asyncio.Event()

    async def once_ill() -> None:
        if not told:
            raise LookupError
        await asyncio.Event().wait()

    async def ill() -> None:
        await let.wait()
        raise OSError("disk")

    supervisor = TaskSupervisor("cellar", told.append, QUICK)
    supervisor.keep("a", once_ill)
    supervisor.keep("b", ill)
    await until(lambda: told[-1:] == [""], "a is well again")
    let.set()
    await until(lambda: "b: OSError" in told[-1], "b is ill")
    await supervisor.end("b")
    assert told[-1] == ""
    await supervisor.stop()


async def test_stopping_ends_everything_and_is_no_unforeseen_end() -> None:
    told: list[str] = []
    running: set[str] = set()

    async def work(name: str) -> None:
        running.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            running.discard(name)

    supervisor = TaskSupervisor("cellar", told.append, QUICK)
    supervisor.keep("a", lambda: work("a"))
    supervisor.begin("b", work("b"))
    await until(lambda: running == {"a", "b"}, "both run")
    await supervisor.stop()
    await supervisor.stop()
    assert (running, told, supervisor.ends) == (set(), [], 0)


async def test_passing_work_that_fails_is_told_for_a_while_and_not_begun_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    supervisor = TaskSupervisor("cellar", told.append, QUICK)
    supervisor.begin("noting", _raise())
    await supervisor.finish()
    await until(lambda: told[-1:] == [""], "it is over")
    assert "noting: LookupError: the first line" in told[0]
    assert "noting failed" in caplog.text
    await supervisor.stop()


async def test_together_raises_what_was_raised_and_ends_the_others() -> None:
    ended = asyncio.Event()

    async def other() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        ended.set()

    with pytest.raises(LookupError):
        await together(other(), _raise())
    assert ended.is_set()


async def test_together_passes_a_cancellation_on() -> None:
    ended = asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(together(other()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_unless_returns_the_work_or_says_what_came_before_it() -> None:
    never = asyncio.Event()

    async def seven() -> int:
        return 7

    assert await unless(seven(), never.wait()) == 7
    with pytest.raises(OvertakenError):
        await unless(never.wait(), _end())
    with pytest.raises(LookupError):
        await unless(never.wait(), _raise())
    with pytest.raises(LookupError):
        await unless(_raise(), never.wait())


def test_an_error_is_one_line() -> None:
    assert describe(OSError(28, "No space left\non device")) == "OSError: [Errno 28] No space left"
    assert describe(KeyError()) == "KeyError"


async def test_what_is_stopped_before_its_first_step_leaves_nothing_unawaited(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def passing() -> None:
        raise AssertionError("it was never to begin")

    supervisor = TaskSupervisor("part")
    work = passing()
    supervisor.begin("passing", work)
    await supervisor.stop()
    assert work.cr_frame is None, "closed"
    assert list(recwarn) == []


async def test_work_that_takes_too_long_is_cancelled_and_what_it_returns_in_time_comes_back() -> None:
    assert await within(asyncio.sleep(0, "done"), 60) == "done"
    assert await within(asyncio.sleep(0, "done"), None) == "done"
    working = asyncio.ensure_future(asyncio.sleep(60))
    with pytest.raises(TimeoutError):
        await within(working, 0.001)
    assert working.cancelled()


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_in_the_turn_in_which_the_work_is_done_is_not_lost(turns: int) -> None:
    done = asyncio.Event()

    async def work() -> None:
        await within(done.wait(), 60)
        await asyncio.Event().wait()  # where a lost cancellation would leave it, for ever

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    done.set()
    cancel_after(task, turns)
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.cancelled()


def cancel_after(task: asyncio.Task[None], turns: int) -> None:
    """Cancels after so many turns of the loop."""
    if turns == 0:
        task.cancel()
    else:
        asyncio.get_running_loop().call_soon(cancel_after, task, turns - 1)
