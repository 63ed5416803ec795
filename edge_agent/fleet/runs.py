"""Where local fleets keep their files, and how `moamesh ask` finds the one that is running.

Each run has a folder under the user's state folder; its `run.json` names the broker while the fleet is up.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_agent.core.errors import SettingsError
from edge_agent.files import PRIVATE, is_there, read_if_there, reason, write_atomically
from edge_agent.folders import state_folder

RUNS_KEPT_MAX = 5  # folders of ended runs: their logs may still be wanted, older ones are removed
RUN_FILE = "run.json"
RUN_BYTES_MAX = 64 * 1024  # the names of 64 devices and a few URLs


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """A fleet that is up. `pid` and `pid_started` name its process beyond doubt (process ids are used again).

    folder: of the run. web: URL of the WebSockets listener on this host, gateway: of the API and the app; "" is none.
    lan: whether both are reached from the network too.
    """

    pid: int
    pid_started: int
    broker: str
    mesh: str
    devices: tuple[str, ...]
    folder: str = ""
    web: str = ""
    gateway: str = ""
    lan: bool = False


def new_run_folder() -> Path:
    """Makes a folder for a new run and removes those of runs long over."""
    runs = state_folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    ended = sorted((path for path in runs.iterdir() if path.is_dir() and not _is_held(path)), key=_age_key)
    for path in ended[: max(0, len(ended) - RUNS_KEPT_MAX)]:
        shutil.rmtree(path, ignore_errors=True)
    folder = runs / f"{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    return folder


def announce(
    folder: Path,
    broker: str,
    mesh: str,
    devices: tuple[str, ...],
    *,
    web: str = "",
    gateway: str = "",
    lan: bool = False,
) -> None:
    """Lets other commands of this user find the fleet of this process."""
    started = _start_ticks(os.getpid()) or 0
    run = RunningFleet(os.getpid(), started, broker, mesh, devices, str(folder), web, gateway, lan)
    write_atomically(folder / RUN_FILE, json.dumps(asdict(run)).encode(), PRIVATE)


def find_running() -> RunningFleet | None:
    """Returns the fleet that was started last of those that are up.

    Raises:
        SettingsError: a fleet seems to be up, and what it wrote of itself is damaged.
    """
    folders = [folder for folder in (state_folder() / "runs").glob("*") if is_there(folder / RUN_FILE)]
    files = [folder / RUN_FILE for folder in sorted(folders, key=_age_key, reverse=True)]
    return next((run for run in map(_read, files) if run is not None), None)


def _read(path: Path) -> RunningFleet | None:
    try:
        content = read_if_there(path, RUN_BYTES_MAX)
        if content is None:
            return None
        fields = json.loads(content)
        run = RunningFleet(**(fields | {"devices": tuple(fields["devices"])}))
        texts = (run.broker, run.mesh, run.folder, run.web, run.gateway, *run.devices)
        if not isinstance(run.pid, int) or not all(isinstance(text, str) for text in texts):
            raise TypeError("a field is of another kind")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        if not _is_held(path.parent):
            return None  # of a run long over
        why = reason(error) if isinstance(error, OSError) else "damaged"
        raise SettingsError(f"{path}: {why}; stop the `moamesh up` that wrote it and start it again") from None
    return run if _start_ticks(run.pid) == run.pid_started else None


def _is_held(folder: Path) -> bool:
    # by the name of the folder: a fleet that is still starting has not announced itself yet
    pid = folder.name.partition("-")[0]
    return pid.isdigit() and _start_ticks(int(pid)) is not None


def _age_key(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])  # field 22, `starttime`; the name before it may hold anything
