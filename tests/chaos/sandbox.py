"""Namespaces of one's own for processes, mounts and networks: however a run ends, the kernel takes all of it away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.programs import remove_groups

MARK = "moamesh-chaos-"
_OWN_MEMORY = "/dev/shm"
# An init that reaps orphans until its one child has ended. The mounts hide what others on this machine have there.
_INIT = """\
mkdir -p /run/netns && mount -t tmpfs none /run/netns && mount -t tmpfs none /dev/shm && ip link set lo up && "$@"
exit $?
"""


class CannotRunError(Exception):
    """Something that is needed is not here. One line."""


def check_needs(programs: Sequence[str], keep: Path | None = None) -> None:
    """Raises `CannotRunError` unless namespaces can be made here, the programs are there and a run sees its files."""
    where = keep or Path(tempfile.gettempdir())
    if where.resolve().is_relative_to(_OWN_MEMORY):
        raise CannotRunError(f"{where}: a run has a {_OWN_MEMORY} of its own; name a folder elsewhere")
    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    if os.geteuid() != 0:
        raise CannotRunError("root is needed, for namespaces and small disks")
    if lacking := [
        name for name in (*programs, "ip", "unshare", "nsenter", "setpriv") if not shutil.which(name, path=search)
    ]:
        raise CannotRunError(f"not installed: {', '.join(lacking)}; on Debian: make programs broker")
    if not Path("/dev/net/tun").exists():
        raise CannotRunError("/dev/net/tun is not here: the cables are TAP devices")


@contextlib.contextmanager
def folder_for_a_run(keep: Path | None) -> Iterator[Path]:
    """A new folder, removed in the end unless the caller has named one to keep."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=MARK, dir=keep))
    made.chmod(0o755)
    try:
        yield made
    finally:
        remove_groups(made.name)
        if keep is None:
            shutil.rmtree(made, ignore_errors=True)


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Runs a module of ours as the only process tree of new namespaces; returns its status.

    Ctrl-C goes to the whole group, so the module ends in order; if we die, so does all of it.
    """
    command = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child=KILL"),
        *("--mount-proc", "sh", "-c", _INIT, "chaos", sys.executable, "-m", module, *arguments),
    ]
    environment = os.environ | {"PATH": os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))}
    process = subprocess.Popen(command, env=environment)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # it has heard it too
                continue
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
