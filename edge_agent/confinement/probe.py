"""`python -m edge_agent.confinement.probe FILE [--server] [--outside]`: shuts itself in as a model process does, and
wants out. `--server`: as one that is asked over a Unix socket.

FILE: one that such a process has no business with. Writes a JSON object: `open_doors`, and for each attempt the error
that stopped it, or "" if it came through. With `--outside` it is not shut in: then every attempt comes through, or the
attempt would prove nothing.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.confinement.confine import AllowedFiles, Server, confine
from edge_agent.confinement.environment import ALLOWED, FIXED

_FILE_BYTES = 4096
_BEYOND = 1024**4  # of memory: more than any bound here allows
_OWN_PATH = "PYTHONPATH"  # set for it, not passed on
_MAP_NORESERVE = 0x4000  # linux/mman.h; in Python since 3.13


def _read(path: Path) -> None:
    path.read_bytes()


def _list(path: Path) -> None:
    list(path.parent.iterdir())


def _write(path: Path) -> None:
    path.with_name("written").write_bytes(b"x")


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(file.read(1))


def _remove(path: Path) -> None:
    path.with_name("to-be-removed").unlink()


def _read_parents_environment(_path: Path) -> None:
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def _have_a_secret_in_the_environment(_path: Path) -> None:
    given = os.environ.keys() - ALLOWED - FIXED.keys() - {_OWN_PATH}
    if not given:
        raise PermissionError("nothing there")


def _internet_socket(_path: Path) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def _datagram_socket(_path: Path) -> None:
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()


def _local_socket(_path: Path) -> None:
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()


def _connect(path: Path) -> None:
    place = path.with_name("sockets") / f"{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(str(place))
        listener.listen()
        caller.connect(str(place))


def _io_uring(_path: Path) -> None:
    """Through it sockets can be had without calling `socket`."""
    parameters = ctypes.create_string_buffer(120)
    if _system_call(425, 1, parameters) < 0:
        raise PermissionError("no io_uring")


def _fork(_path: Path) -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _start_a_program(_path: Path) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)


def _signal_the_agent(_path: Path) -> None:
    os.kill(os.getppid(), 0)


def _signal_the_group(_path: Path) -> None:
    previous = signal.signal(signal.SIGURG, signal.SIG_IGN)
    try:
        os.kill(0, signal.SIGURG)  # a signal that nobody heeds
    finally:
        signal.signal(signal.SIGURG, previous)


def _look_at_the_agents_limits(_path: Path) -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_CORE)


def _fill_a_file(_path: Path) -> None:
    descriptor = os.memfd_create("file")
    try:
        os.write(descriptor, bytes(_FILE_BYTES))
    finally:
        os.close(descriptor)


def _raise_a_limit(_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _take_all_memory(_path: Path) -> None:
    mmap.mmap(-1, _BEYOND, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE).close()


ATTEMPTS: dict[str, dict[str, Callable[[Path], None]]] = {
    "files": {
        "read a key": _read,
        "list its folder": _list,
        "write a file": _write,
        "overwrite a file": _overwrite,
        "remove a file": _remove,
        "read the agent's environment": _read_parents_environment,
    },
    "network": {
        "open an internet socket": _internet_socket,
        "open a datagram socket": _datagram_socket,
        "open a local socket": _local_socket,
        "connect to a local socket": _connect,
        "use io_uring": _io_uring,
    },
    "processes": {
        "fork": _fork,
        "start a program": _start_a_program,
        "signal the agent": _signal_the_agent,
        "signal its group": _signal_the_group,
        "look at the agent's limits": _look_at_the_agents_limits,
    },
    "limits": {
        "fill a file": _fill_a_file,
        "raise a limit": _raise_a_limit,
        "take a terabyte of memory": _take_all_memory,
    },
    "environment": {"have a variable beyond the list": _have_a_secret_in_the_environment},
}
"""By the part that stops them, with a word for each."""

SERVERS = frozenset({"open a local socket"})
"""What one that is asked over a socket may do nevertheless."""

PERMITTED: dict[str, Callable[[Path], None]] = {
    "read the model": _read,
    "start a thread": lambda _path: _run_a_thread(),
    "import what was not imported yet": lambda _path: _import_late(),
}
"""What must go on working inside."""


def main(arguments: list[str]) -> None:
    """Writes what came of each attempt."""
    path = Path(arguments[0])
    model, sockets = path.with_name("model"), path.with_name("sockets")
    sockets.mkdir(exist_ok=True)
    server = Server(sockets) if "--server" in arguments else None
    open_doors = [] if "--outside" in arguments else confine(AllowedFiles([model], server=server))
    tries = {word: _outcome(attempt, path) for attempts in ATTEMPTS.values() for word, attempt in attempts.items()} | {
        word: _outcome(attempt, model) for word, attempt in PERMITTED.items()
    }
    print(json.dumps({"open_doors": list(open_doors), "tries": tries}), flush=True)


def _outcome(attempt: Callable[[Path], None], path: Path) -> str:
    try:
        attempt(path)
    except (OSError, ValueError, MemoryError) as error:
        return type(error).__name__
    return ""


def _run_a_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _import_late() -> None:
    import decimal
    import sqlite3

    del decimal, sqlite3


def _system_call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None).syscall(number, *arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
