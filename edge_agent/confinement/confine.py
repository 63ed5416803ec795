"""Everything at once, for the process that calls it, and for good."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.confinement.landlock import landlock_abi, restrict_to
from edge_agent.confinement.limits import drop_capabilities, limits_for, set_limits
from edge_agent.confinement.readable import readable_paths
from edge_agent.confinement.seccomp import no_new_privileges, refuse_system_calls

FORM_BYTES_MAX_SHARE = 5  # a model in another form against its source: 2-bit weights made 8-bit grow fourfold
FORM_BYTES_SPARE = 64 * 1024**2  # header and vocabulary, which small models mostly are
NOWHERE = Path("/dev/null")  # llama-cpp-python sends there what llama.cpp prints


@dataclass(frozen=True, slots=True)
class AllowedFiles:
    """What a confined process is given."""

    models: Sequence[Path]
    """The files to read."""
    output: Path | None = None
    """A file to write, which must be there already."""


def confine(room: AllowedFiles) -> tuple[str, ...]:
    """Shuts this process in; returns what does not hold on this machine, a phrase each, in the order of weight.

    Call it first of all: before threads are started and before anything of a stranger's is read. Does not fail: a
    device with an older kernel serves all the same, and says so.
    """
    open_doors: list[str] = []
    alone = _thread_count() == 1
    sizes = [path.stat().st_size for path in room.models if path.is_file()]
    written = FORM_BYTES_MAX_SHARE * sum(sizes) + FORM_BYTES_SPARE if room.output else 0
    readable = [*readable_paths(), *room.models]  # looked for while it still can
    writable = [NOWHERE, *([room.output] if room.output else [])]
    unset = set_limits(limits_for(sum(sizes), written))
    dropped = drop_capabilities()
    kept_down = no_new_privileges()
    if not (kept_down and alone and restrict_to(readable, writable)):
        why = "" if landlock_abi() else ": this kernel has no Landlock"
        open_doors.append(f"it may read every file that the agent may, keys and journal too{why}")
    if not (kept_down and refuse_system_calls()):
        open_doors.append("it may open sockets and start programs: no seccomp filter for this system")
    if unset:
        open_doors.append(f"without a limit: {', '.join(unset)}")
    if not dropped and os.geteuid() == 0:
        open_doors.append("it has the rights of root")
    return tuple(open_doors)


def _thread_count() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
