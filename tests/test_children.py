"""Child processes of every kind: those that do not want to end, say too much, leave others behind, or never start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edge_agent.children import Child, ChildProcess, OutputTail, helper, run
from edge_agent.children.output_tail import OUTPUT_TAIL_BYTES_MAX, Log
from edge_agent.children.process import LOG_BYTES_MAX
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

LINE = "x" * 1023 + "\n"
MUCH = f"import sys\nfor _ in range(10 * 1024): sys.stdout.write({LINE!r})\nprint('the end')"
DEAF = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: os.write(1, b'asked\\n'))\n"
DEAF += "os.write(1, b'up\\n')\nwhile True: time.sleep(1000)"
LEAVES_ONE = "sleep 1000 & echo $!; echo last words; exit 3"
CANCELLED_AFTER = range(16)  # turns of the loop; a start takes some six


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_one_that_ends_at_once_leaves_its_status_and_its_last_words(tmp_path: Path) -> None:
    child = ChildProcess(shell("echo first; echo '' ; echo why >&2; exit 7"), tmp_path / "log")
    with pytest.raises(RuntimeError, match="log was never started"):
        await child.wait()
    assert (child.running, child.pid, child.exit_status, child.tail()) == (False, None, None, "")
    await child.start()
    assert await child.wait() == 7
    assert (child.running, child.pid, child.exit_status) == (False, None, 7)
    assert child.tail() == "first | why"
    await child.stop()
    await child.kill()
    child.send_signal(signal.SIGHUP)


async def test_one_that_is_started_again_goes_on_in_its_log_and_has_new_words(tmp_path: Path) -> None:
    child = ChildProcess(shell("echo $$"), tmp_path / "log")
    said = []
    for _ in range(2):
        await child.start()
        await child.wait()
        said.append(child.tail())
    assert (tmp_path / "log").read_text().splitlines() == said
    assert len(set(said)) == 2
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_it_is_started_once_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    child = ChildProcess(["sleep", "1000"], tmp_path / "log")
    await child.start()
    pid = child.pid
    await child.start()
    assert pid is not None
    assert (child.pid, os.getsid(pid)) == (pid, pid)
    await child.kill()
    assert child.exit_status == -signal.SIGKILL


async def test_one_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    child = ChildProcess(python(DEAF), tmp_path / "log", stop_still_s=0.5)
    await child.start()
    await until(lambda: child.tail() == "up", "it runs")
    await child.stop()
    assert child.exit_status == -signal.SIGKILL
    assert child.tail() == "up | asked"


async def test_what_it_leaves_behind_is_not_waited_for_though_it_holds_the_output(tmp_path: Path) -> None:
    child = ChildProcess(shell(LEAVES_ONE), tmp_path / "log")
    await child.start()
    assert await child.wait() == 3
    left, words = child.lines()
    assert words == "last words"
    assert not is_gone(int(left)), "else this shows nothing"
    os.kill(int(left), signal.SIGKILL)


def test_nor_is_it_where_there_is_no_loop() -> None:
    done = run(shell(LEAVES_ONE), timeout_s=PATIENCE_S)
    left, words = done.text.splitlines()
    assert (done.status, words) == (3, "last words")
    assert not is_gone(int(left)), "else this shows nothing"
    os.kill(int(left), signal.SIGKILL)


async def test_of_one_that_says_much_the_last_is_kept_within_bounds(tmp_path: Path) -> None:
    child = ChildProcess(python(MUCH), tmp_path / "log")
    await child.start()
    assert await child.wait() == 0
    assert child.lines()[-2:] == [LINE.strip(), "the end"]
    assert sum(map(len, child.lines())) <= OUTPUT_TAIL_BYTES_MAX
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(tmp_path)}
    assert sizes.keys() == {"log", "log.1"}
    assert max(sizes.values()) <= LOG_BYTES_MAX
    assert (tmp_path / "log").read_text().endswith("the end\n")


def test_nor_is_more_of_it_kept_where_there_is_no_loop() -> None:
    done = run(python(MUCH), timeout_s=PATIENCE_S, output_bytes_max=2000)
    assert (len(done.output), done.text.splitlines()[-1], done.reason) == (2000, "the end", "status 0")


def test_what_is_added_bit_by_bit_or_at_once_is_kept_within_the_bound() -> None:
    words, pieces = OutputTail(8), OutputTail(8)
    words.add(bytes(range(100)))
    for one in range(100):
        pieces.add(bytes([one]))
        assert len(pieces._kept) <= 16
    assert words.get() == pieces.get() == bytes(range(92, 100))
    pieces.add(b"\xff\n\n\nend\n")
    assert pieces.lines() == ["�", "end"]


async def test_a_full_disk_costs_the_log_and_not_the_child(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    child = ChildProcess(python(MUCH), tmp_path / "log")
    await child.start()
    assert await child.wait() == 0
    assert child.lines()[-1] == "the end"


def test_a_log_whose_folder_goes_away_stays_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with contextlib.closing(Log(folder / "log", 100)) as log:
        log.add(b"1" * 90)
        (folder / "log").unlink()
        folder.rmdir()
        for _ in range(10):
            log.add(b"2" * 90)
        assert log._file.tell() <= 100


@pytest.mark.parametrize(
    ("command", "error"), [("missing", FileNotFoundError), ("text", PermissionError), ("folder", PermissionError)]
)
async def test_one_that_cannot_start_leaves_nothing_open(command: str, error: type[OSError], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "folder").mkdir()
    program = [str(tmp_path / command)]
    child = ChildProcess(program, tmp_path / "log")
    before = descriptors()
    with pytest.raises(error):
        await child.start()
    with pytest.raises(error):
        run(program, timeout_s=PATIENCE_S)
    await until(lambda: descriptors() == before, "all is closed")
    assert not child.running
    await child.stop()
    await child.kill()


async def test_one_without_a_folder_for_its_log_is_not_started(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(FileNotFoundError):
        await ChildProcess(["sleep", "1000"], tmp_path / "missing" / "log").start()
    assert children() == before


async def test_a_start_that_is_cancelled_anywhere_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    before, ends = (children(), descriptors()), set()
    for turns in CANCELLED_AFTER:
        child = ChildProcess(["sleep", "1000"], tmp_path / "log")
        starting = asyncio.create_task(child.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        ends.add(starting.cancelled())
        assert child.running != starting.cancelled()
        await child.kill()
        await until(lambda: (children(), descriptors()) == before, f"nothing is left after {turns} turns")
    assert ends == {True, False}


@pytest.mark.parametrize("times", [1, 2])
async def test_a_stop_that_is_cancelled_kills(times: int, tmp_path: Path) -> None:
    child = ChildProcess(python(DEAF), tmp_path / "log", stop_still_s=PATIENCE_S)
    await child.start()
    await until(lambda: child.tail() == "up", "it runs")
    stopping = asyncio.create_task(child.stop())
    await until(lambda: "asked" in child.lines(), "it was asked")
    for _ in range(times):
        stopping.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await until(lambda: child.exit_status == -signal.SIGKILL, "its end")


async def test_a_child_ends_with_the_block_that_has_it() -> None:
    before = descriptors()
    for error in (None, ZeroDivisionError(), asyncio.CancelledError()):
        with contextlib.suppress(ZeroDivisionError, asyncio.CancelledError):
            async with await Child.start(shell("echo word; exec sleep 1000"), errors_apart=True) as child:
                assert await child.output.reader.readline() == b"word\n"
                if error is not None:
                    raise error
        assert child.status == -signal.SIGKILL
        await until(lambda: descriptors() == before, "all is closed")


PARENTS = {
    "process": "async def main():\n child = ChildProcess({command}, Path({log!r}))\n await child.start()\n{rest}",
    "child": "async def main():\n child = await Child.start({command})\n{rest}",
    "helper": "async def main():\n with helper({command}) as child:\n {rest}",
    "helper in a thread": "async def main(): await asyncio.to_thread(wait)\n"
    "def wait():\n with helper({command}) as child:\n  print(child.pid, flush=True)",
}


@pytest.mark.parametrize("kind", PARENTS)
@pytest.mark.parametrize("stopped", [False, True])
def test_a_child_ends_with_a_parent_that_is_killed(kind: str, stopped: bool, tmp_path: Path) -> None:
    rest = " print(child.pid, flush=True)\n await asyncio.Event().wait()"
    if kind == "helper":
        rest = rest.replace("\n", "\n ")
    main = PARENTS[kind].format(command=["sleep", "1000"], log=str(tmp_path / "log"), rest=rest)
    code = "import asyncio\nfrom pathlib import Path\nfrom edge_agent.children import *\n" + main
    with subprocess.Popen(python(f"{code}\nasyncio.run(main())"), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if stopped:
            child.send_signal(signal.SIGSTOP)
        parent.kill()
    psutil.wait_procs([child], timeout=PATIENCE_S)
    assert is_gone(child.pid)


@pytest.mark.parametrize(("with_us", "ends"), [("signal.SIGTERM", True), ("None", False)])
def test_it_gets_the_signal_that_was_asked_for_or_goes_on(with_us: str, ends: bool, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'echo farewell > {said}; exit' TERM; echo up; while :; do sleep 0.01; done"
    code = "import asyncio, signal\nfrom edge_agent.children import *\nasync def main():\n"
    code += f" child = await Child.start({shell(script)}, with_us={with_us})\n"
    code += " await child.output.reader.readline()\n print(child.pid, flush=True)\n"
    code += " await asyncio.Event().wait()\nasyncio.run(main())"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    if not ends:
        assert child.is_running()
        child.terminate()  # and so it would have heard an earlier one
    psutil.wait_procs([child], timeout=PATIENCE_S)
    assert said.read_text() == "farewell\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["cat"], lambda data: data),
        (["true"], lambda data: b""),  # does not want what it is given
        (["head", "-c", "7"], lambda data: data[:7]),
    ],
)
def test_a_helper_is_given_what_it_is_to_read(command: list[str], text: Callable[[bytes], bytes]) -> None:
    data = os.urandom(512 * 1024)
    done = run(command, timeout_s=PATIENCE_S, data=data)
    assert (done.status, done.output, done.errors) == (0, text(data), b"")


def test_a_helper_s_errors_stand_apart_and_their_last_line_is_the_reason() -> None:
    done = run(shell("echo out; echo one >&2; echo two >&2; exit 5"), timeout_s=PATIENCE_S)
    assert (done.status, done.text, done.reason) == (5, "out\n", "two")
    assert run(shell("kill -9 $$"), timeout_s=PATIENCE_S).reason == "status -9"


@pytest.mark.parametrize("command", [["sleep", "1000"], shell("exec >&- 2>&-; exec sleep 1000"), python(DEAF)])
def test_a_helper_that_does_not_end_in_time_is_killed(command: list[str]) -> None:
    before = children()
    with pytest.raises(TimeoutError, match=r"it did not end in 0\.3 s"):
        run(command, timeout_s=0.3)
    assert children() == before


def test_a_helper_ends_with_an_error_of_whoever_watches_it() -> None:
    with contextlib.suppress(KeyboardInterrupt), helper(shell("echo up; exec sleep 1000")) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        raise KeyboardInterrupt
    assert child.returncode == -signal.SIGKILL
