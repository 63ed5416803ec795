"""Everything at once, for the process that calls it, and for good."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.confinement.landlock import landlock_abi, restrict_to
from edge_agent.confinement.limits import drop_capabilities, limits_for, set_limits
from edge_agent.confinement.readable import GRAPHICS_READABLE, graphics_devices, program_files, readable_paths
from edge_agent.confinement.seccomp import no_new_privileges, refuse_system_calls

FORM_BYTES_MAX_SHARE = 5  # a model in another form against its source: 2-bit weights made 8-bit grow fourfold
FORM_BYTES_SPARE = 64 * 1024**2  # header and vocabulary, which small models mostly are
NOWHERE = Path("/dev/null")  # llama-cpp-python sends there what llama.cpp prints


@dataclass(frozen=True, slots=True)
class Server:
    """What a confined process is given that is asked over sockets. It answers; it connects to nobody."""

    sockets: Path | None
    """A folder for its Unix socket; `None`: it listens on TCP, at whatever address it likes."""
    program: Path | None = None
    """The program that it becomes, which may use this machine's graphics processors; `None`: it stays what it is."""


@dataclass(frozen=True, slots=True)
class AllowedFiles:
    """What a confined process is given."""

    models: Sequence[Path]
    """The files to read."""
    output: Path | None = None
    """A file to write, which must be there already."""
    server: Server | None = None
    """It listens."""


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
    server, program = room.server, room.server.program if room.server else None
    programs: list[Path] = []
    if program:
        beside, programs = program_files(program)
        readable += [*beside, *GRAPHICS_READABLE]
        writable += graphics_devices()
    # drivers of graphics processors reserve address space without measure
    unset = set_limits(limits_for(sum(sizes), written), address_space=program is None)
    dropped = drop_capabilities()
    kept_down = no_new_privileges()
    sockets = server.sockets if server else None
    on_tcp = server is not None and sockets is None
    if not (
        kept_down
        and alone
        and restrict_to(readable, writable, sockets=sockets, programs=programs, listens_on_tcp=on_tcp)
    ):
        why = "" if landlock_abi() else ": this kernel has no Landlock"
        open_doors.append(f"it may read every file that the agent may, keys and journal too{why}")
    families = () if server is None else (socket.AF_INET, socket.AF_INET6) if on_tcp else (socket.AF_UNIX,)
    if not (kept_down and refuse_system_calls(listens=families, starts_program=program is not None)):
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
