"""What a confined process may use: limits of the kernel, and no rights of root beyond reading files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path

OPEN_FILES_MAX = 1_200  # a model in parts has up to 1,000 of them open at once
PROCESSES_MAX = 4_096
"""Of the user, threads included: Linux counts all processes of a user, so this only stops a flood. Where seccomp holds
the process starts none at all; root is not counted, the service's TasksMax is what counts there."""
RESERVED_BYTES = 8 * 1024**3
"""Address space beside model and data: the interpreter, libraries, reserved but unused ranges. It costs no memory."""
RESERVED_BYTES_PER_CORE = 512 * 1024**2  # the C library reserves an arena of 64 MiB a thread, thread stacks 8 MiB
DATA_BYTES_MIN = 1024**3  # what an interpreter with a small model never reaches

CAPABILITIES_KEPT = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: a root agent's model may be of any owner
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in bytes."""

    data_bytes: int
    """Memory of its own: heap, weights that llama.cpp repacks, the KV cache. A model that is mapped from its file is
    not counted: it may be larger than the RAM."""
    address_bytes: int
    """All that it maps, its model's file included."""
    file_bytes: int
    """Of any file that it writes. 0: none."""


def limits_for(model_bytes: int, written_bytes: int = 0) -> Limits:
    """Returns the bounds for a process that loads a model of this size, and may write a file of `written_bytes`.

    Data: the RAM and swap of the machine. More cannot work, and a lower bound would have to guess what llama.cpp needs.
    """
    data = max(_memory_bytes(), DATA_BYTES_MIN)
    reserved = RESERVED_BYTES + RESERVED_BYTES_PER_CORE * (os.cpu_count() or 1)
    # twice: a file may be mapped once more while it is checked
    return Limits(data, data + 2 * model_bytes + reserved, written_bytes)


def set_limits(limits: Limits, *, address_space: bool = True) -> tuple[str, ...]:
    """Sets the limits of this process, which can't be raised again; returns those that could not be set, and that of
    its address space if it is not to have one."""
    bounds = (
        ("its own memory", resource.RLIMIT_DATA, limits.data_bytes),
        ("address space", resource.RLIMIT_AS, limits.address_bytes),
        ("size of files", resource.RLIMIT_FSIZE, limits.file_bytes),
        ("open files", resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        ("processes", resource.RLIMIT_NPROC, PROCESSES_MAX),
        ("core dumps", resource.RLIMIT_CORE, 0),  # would hold the prompts
    )
    left_out = () if address_space else (resource.RLIMIT_AS,)
    return tuple(name for name, which, bound in bounds if which in left_out or not _lower(which, bound))


def drop_capabilities() -> bool:
    """Gives up root's rights, of which one is to raise limits; says whether it worked. Before there are threads."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header, data = Header(_CAPABILITY_VERSION, 0), (Data * 2)()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capget(ctypes.byref(header), data) != 0:
            return False
        for part, kept in zip(data, (CAPABILITIES_KEPT, 0), strict=True):
            part.permitted &= kept
            part.effective = part.permitted
            part.inheritable = 0
        return bool(libc.capset(ctypes.byref(header), data) == 0)
    except (OSError, AttributeError):
        return False


def _lower(which: int, bound: int) -> bool:
    """Lowers a limit to `bound`, or leaves it where it is lower already."""
    with contextlib.suppress(OSError, ValueError, OverflowError):
        _, hard = resource.getrlimit(which)
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(which, (bound, bound))
        return True
    return False


def _memory_bytes() -> int:
    """RAM and swap of this machine; 0 if it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("MemTotal:", "SwapTotal:")))
