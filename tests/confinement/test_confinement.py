"""A process that is shut in tries to get out, one way after the other; one that is not shut in gets out by each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.confinement import confined_environment
from edge_agent.confinement.landlock import landlock_abi
from edge_agent.confinement.probe import ATTEMPTS, PERMITTED, SERVERS
from tests.support.patience import PATIENCE_S

SECRETS = {
    "MOAMESH_INFLUX_TOKEN": "t",
    "MOAMESH_BROKER__PASSWORD": "p",
    "HF_TOKEN": "h",
    "OPENAI_API_KEY": "k",
    "HTTPS_PROXY": "http://user:password@proxy",
    "SSH_AUTH_SOCK": "/run/agent",
    "LD_PRELOAD": "",
    "HOME": "/root",
}


def run_probe(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, without: Sequence[int] = ()
) -> dict[str, Any]:
    for name in ("key", "model", "to-be-removed"):
        (folder / name).write_bytes(b"x")
    command = [sys.executable, "-P", "-m", "edge_agent.confinement.probe", str(folder / "key"), *arguments]
    if without:
        numbers = ",".join(str(number) for number in without)
        command = [sys.executable, "-m", "tests.confinement.older_kernel", numbers, *command]
    given = confined_environment() if environment is None else environment
    done = subprocess.run(  # in a group of its own: one of its attempts signals its group
        command, capture_output=True, env=given, timeout=PATIENCE_S, check=False, start_new_session=True
    )
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(tmp_path_factory.mktemp("inside"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_probe(tmp_path_factory.mktemp("outside"), "--outside", environment=dict(os.environ) | SECRETS)


def open_parts(told: dict[str, Any]) -> set[str]:
    """The parts that the process itself says do not hold on this machine."""
    words = {"files": "may read every file", "network": "may open sockets", "limits": "without a limit"}
    found = {part for part, word in words.items() if any(word in door for door in told["open_doors"])}
    return found | ({"processes"} if "network" in found else set())


@pytest.mark.parametrize(("part", "attempt"), [(part, attempt) for part in ATTEMPTS for attempt in ATTEMPTS[part]])
def test_each_way_out_is_shut_or_said_to_be_open(inside: dict[str, Any], part: str, attempt: str) -> None:
    assert inside["tries"][attempt] or part in open_parts(inside)


@pytest.mark.parametrize(
    "attempt", [attempt for part in ATTEMPTS.values() for attempt in part if attempt != "use io_uring"]
)
def test_each_attempt_comes_through_where_nothing_is_shut(outside: dict[str, Any], attempt: str) -> None:
    """Else it would prove nothing. io_uring is left out: many systems switch it off for everybody."""
    assert outside["tries"][attempt] == ""


@pytest.mark.parametrize("deed", PERMITTED)
def test_what_llama_cpp_needs_goes_on_working(inside: dict[str, Any], deed: str) -> None:
    assert inside["tries"][deed] == ""


def test_a_kernel_with_landlock_hides_keys_and_one_without_is_said_to_be_so(inside: dict[str, Any]) -> None:
    assert ("files" in open_parts(inside)) == (landlock_abi() == 0)


def test_one_that_is_asked_over_a_socket_listens_and_everything_else_stays_shut(tmp_path: Path) -> None:
    told = run_probe(tmp_path, "--server")
    assert {word: told["tries"][word] for word in SERVERS} == dict.fromkeys(SERVERS, "")
    for part, attempts in ATTEMPTS.items():
        for attempt in attempts.keys() - SERVERS:
            assert told["tries"][attempt] or part in open_parts(told), attempt


LANDLOCK, SECCOMP = 444, {"x86_64": 317, "aarch64": 277}.get(os.uname().machine, 383)
OLDER = {
    "without Landlock": ([LANDLOCK], {"files"}),
    "without seccomp": ([SECCOMP], {"network", "processes"}),
    "without either": ([LANDLOCK, SECCOMP], {"files", "network", "processes"}),
}


@pytest.mark.parametrize("kernel", OLDER)
def test_an_older_kernel_is_said_to_leave_open_what_it_leaves_open(kernel: str, tmp_path: Path) -> None:
    without, parts = OLDER[kernel]
    told = run_probe(tmp_path, without=without)
    assert parts <= open_parts(told)
    for part in ATTEMPTS:
        stopped = [attempt for attempt in ATTEMPTS[part] if told["tries"][attempt]]
        assert part in open_parts(told) or len(stopped) == len(ATTEMPTS[part])
    assert ("files" in parts) == (told["tries"]["read a key"] == "") or landlock_abi() == 0
    assert [deed for deed in PERMITTED if told["tries"][deed]] == []


def test_a_new_secret_is_left_out_of_the_environment_by_itself() -> None:
    chosen = confined_environment({**SECRETS, "TZ": "UTC", "OMP_NUM_THREADS": "2", "PYTHONPATH": "/packages"})
    assert chosen.keys() == {"TZ", "OMP_NUM_THREADS", "PYTHONPATH", "OPENBLAS_NUM_THREADS"}
    assert chosen["PYTHONPATH"].endswith(":/packages")


def run_inside(script: str, *arguments: str) -> str:
    """Runs a script and returns what it prints; "!" and the status if it died."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        env=confined_environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout.decode().strip() or f"! {done.returncode} {done.stderr.decode()[-500:]}"


def test_threads_that_were_there_before_are_no_way_round() -> None:
    """Landlock holds for one thread: with others about it would prove nothing, and is said not to hold."""
    script = """
import threading
from edge_agent.confinement import AllowedFiles, confine
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(any("may read every file" in door for door in confine(AllowedFiles([]))))
"""
    assert run_inside(script) == "True"


def test_threads_from_before_open_no_sockets_either() -> None:
    script = """
import socket, threading
from edge_agent.confinement import AllowedFiles, confine
go, told = threading.Event(), []
def later():
    go.wait()
    try:
        socket.socket()
        told.append("a socket")
    except PermissionError:
        told.append("refused")
thread = threading.Thread(target=later)
thread.start()
held = not any("sockets" in door for door in confine(AllowedFiles([])))
go.set()
thread.join()
print(told[0] == ("refused" if held else "a socket"))
"""
    assert run_inside(script) == "True"


def test_the_one_file_that_it_may_write_has_a_bound(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(1024))
    target.write_bytes(b"")
    script = """
import sys
from pathlib import Path
from edge_agent.confinement import AllowedFiles, confine
source, target = Path(sys.argv[1]), Path(sys.argv[2])
confine(AllowedFiles([source], target))
block, written = bytes(2**20), 0
try:
    with target.open("wb", buffering=0) as file:
        while written < 2**30:
            written += file.write(block)
except OSError as error:
    print(error.strerror, written)
"""
    assert run_inside(script, str(source), str(target)) == f"File too large {64 * 2**20 + 5 * 1024}"


def test_a_model_larger_than_all_memory_can_be_mapped(tmp_path: Path) -> None:
    """A hole of a terabyte: mapped from its file it takes none of the memory that is bounded."""
    model = tmp_path / "model.gguf"
    with model.open("wb") as file:
        try:
            file.truncate(2**40)
        except OSError:  # the file system allows no such file
            file.truncate(2**36)
    script = """
import mmap, sys
from pathlib import Path
from edge_agent.confinement import AllowedFiles, confine
model = Path(sys.argv[1])
confine(AllowedFiles([model]))
with model.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    print(len(mapped) == model.stat().st_size)
"""
    assert run_inside(script, str(model)) == "True"
