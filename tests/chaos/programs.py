"""One real process of the mesh: started in its host's namespace, killed, stopped, starved, started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
STARVED_NICENESS = 19
END_S = 300.0  # for a process to end on SIGTERM: only one that hangs runs into it


@dataclass
class Program:
    """A command that shall run.

    Args:
        host: the network namespace; "": this process's own.
        group: the name of a control group of CPU time, made when the program is starved first.
        prepare: called before each start.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    host: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    group: str = ""
    prepare: Callable[[], None] = lambda: None
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    unforeseen: list[int] = field(default_factory=list)
    """How it ended when nobody had killed it."""
    _killed: bool = False

    @property
    def pid(self) -> int | None:
        """Its number while it runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    async def start(self) -> None:
        """Starts it, if it does not run."""
        if self.pid is not None:
            return
        self.note_end()
        self.prepare()
        self._killed = False
        inside = ("nsenter", f"--net=/run/netns/{self.host}") if self.host else ()
        with self.log.open("ab") as log:
            log.write(f"--- start {self.starts + 1}\n".encode())
            log.flush()
            self.process = await asyncio.create_subprocess_exec(
                *inside,
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self.starts += 1

    def note_end(self) -> None:
        """Remembers an end that was not ours."""
        if self.process is not None and self.process.returncode is not None and not self._killed:
            self.unforeseen.append(self.process.returncode)
            self._killed = True

    async def kill(self) -> bool:
        """Kills it (SIGKILL), as a power cut would; returns whether it ran."""
        pid = self.pid
        if pid is None or self.process is None:
            return False
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await self.process.wait()
        return True

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it, if it runs."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def end(self) -> int | None:
        """Ends it in order (SIGTERM); returns its status, None where it had to be killed or did not run."""
        if self.process is None or self.pid is None:
            return 0
        self._killed = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                return await self.process.wait()
        await self.kill()
        return None

    def starve(self, share: float) -> bool:
        """Leaves it, and what it starts, this share of one core; returns False where only its niceness could go up."""
        if (pid := self.pid) is None:
            return True
        pids = [pid, *children_of(pid)]
        for root, limit in _cpu_controllers():
            group = root / self.group
            with contextlib.suppress(OSError):
                group.mkdir(exist_ok=True)
                for name, value in limit(share):
                    (group / name).write_text(value)
                for one in pids:
                    with contextlib.suppress(ProcessLookupError):
                        (group / "cgroup.procs").write_text(str(one))
                return True
        for one in pids:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, one, STARVED_NICENESS)
        return False

    def feed(self) -> None:
        """Ends what `starve` began."""
        for root, limit in _cpu_controllers():
            with contextlib.suppress(OSError):
                for name, value in limit(None):
                    (root / self.group / name).write_text(value)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for word in (task / "children").read_text().split():
                found += [int(word), *children_of(int(word))]
    return found


def remove_groups(mark: str) -> None:
    """Removes the control groups whose names begin with `mark`; their processes have ended."""
    for root, _ in _cpu_controllers():
        for group in root.glob(f"{mark}*"):
            with contextlib.suppress(OSError):
                group.rmdir()


def _cpu_controllers() -> list[tuple[Path, Callable[[float | None], list[tuple[str, str]]]]]:
    """Where groups of CPU time are made, and what bounds one, in version 1 and 2 of control groups."""

    def first(share: float | None) -> list[tuple[str, str]]:
        quota = -1 if share is None else int(share * PERIOD_US)
        return [("cpu.cfs_period_us", str(PERIOD_US)), ("cpu.cfs_quota_us", str(quota))]

    def second(share: float | None) -> list[tuple[str, str]]:
        return [("cpu.max", f"{'max' if share is None else int(share * PERIOD_US)} {PERIOD_US}")]

    found = []
    if (CGROUPS / "cpu" / "cpu.cfs_quota_us").parent.is_dir() and (CGROUPS / "cpu" / "cgroup.procs").exists():
        found.append((CGROUPS / "cpu", first))
    elif (CGROUPS / "cgroup.controllers").exists():
        found.append((CGROUPS, second))
    return found
