"""What shuts the model process in on this machine: not looked up but tried, by a process that wants out."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_agent.children import run
from edge_agent.confinement import confined_environment
from edge_agent.confinement.probe import ATTEMPTS, PERMITTED, SERVERS
from edge_agent.doctor.findings import Check, Finding

PROBE_MODULE = "edge_agent.confinement.probe"
PROBE_TIMEOUT_S = 60.0  # it takes a tenth of a second; on a slow memory card some
_NAME = "model process"
_SERVER_NAME = "llama-server"
_MENDS = {
    "files": "a kernel with Landlock (5.13 or newer, `landlock` in /sys/kernel/security/lsm)",
    "network": "a 64-bit kernel and Python on x86-64 or ARM",
    "processes": "a 64-bit kernel and Python on x86-64 or ARM",
}
_HELD = {
    "files": "sees its model and the libraries, neither keys nor journal",
    "network": "opens no sockets",
    "processes": "starts no programs, touches no other process",
    "limits": "is bounded in memory and writes no files",
    "environment": "is given no secret in a variable",
}
_HELD_BY_SERVER = "listens on a socket of its own, connects to nobody"


def model_process_checks() -> list[Check]:
    """Returns a finding for each part of the confinement: of the engine `llama`'s process, and of the engine
    `llama-server`'s what differs."""
    return [*_checks(_NAME, frozenset()), *_checks(_SERVER_NAME, SERVERS, only=("network",))]


def _checks(name: str, may: frozenset[str], only: Sequence[str] = tuple(ATTEMPTS)) -> list[Check]:
    try:
        tries = _try_all(server=bool(may))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Check(name, Finding.NOTE, f"its confinement cannot be tested: {error}")]
    checks = [_of_part(name, part, may, tries) for part in only]
    broken = [word for word in (*PERMITTED, *may) if tries[word]]
    if broken:
        checks.append(Check(name, Finding.MISSING, f"can't {', '.join(broken)}", "report it, please"))
    return checks


def _of_part(name: str, part: str, may: frozenset[str], tries: dict[str, str]) -> Check:
    through = [word for word in ATTEMPTS[part] if not tries[word] and word not in may]
    if not through:
        return Check(name, Finding.OK, _HELD_BY_SERVER if may else _HELD[part])
    return Check(name, Finding.NOTE, f"is not prevented from trying to {', '.join(through)}", _MENDS.get(part, ""))


def _try_all(*, server: bool) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="moamesh-") as folder:
        for name in ("key", "model", "to-be-removed"):
            (Path(folder) / name).write_bytes(b"x")
        command = [sys.executable, "-P", "-m", PROBE_MODULE, str(Path(folder) / "key")]
        command += ["--server"] if server else []
        done = run(command, timeout_s=PROBE_TIMEOUT_S, environment=confined_environment())
    if done.status != 0:
        raise ValueError(done.reason)
    tries: dict[str, str] = json.loads(done.output)["tries"]
    return tries
