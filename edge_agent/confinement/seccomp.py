"""A seccomp filter: system calls that a confined process may not make fail with EPERM. Linux on x86-64 and ARM 64.

A list of what is refused, not of what is allowed: Python, numpy, OpenMP and the C library change what they call from
version to version, and a model that does not load after an upgrade would have users switch the filter off.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

# Name: number on x86-64, on ARM 64 (-1: there is none).
_REFUSED: dict[str, dict[str, tuple[int, int]]] = {
    "sockets": {
        "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
        "accept": (43, 202), "accept4": (288, 242),
    },
    "programs and processes": {"execve": (59, 221), "execveat": (322, 281), "fork": (57, -1), "vfork": (58, -1)},
    "other processes": {
        "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
        "process_madvise": (440, 440), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424), "kcmp": (312, 272), "tkill": (200, 130), "setpriority": (141, 140),
        "ioprio_set": (251, 30),
    },
    "memory that outlives it": {
        "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    },
    "another way to make system calls": {
        "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    },
    "the kernel's rarer doors": {
        "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
        "add_key": (248, 217), "request_key": (249, 218), "fanotify_init": (300, 262), "syslog": (103, 116),
        "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60), "acct": (163, 89),
    },
    "namespaces and mounts": {
        "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "move_mount": (429, 429),
        "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
        "fspick": (433, 433), "mount_setattr": (442, 442), "pivot_root": (155, 41), "chroot": (161, 51),
    },
    "the machine": {
        "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
        "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
        "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
        "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58), "iopl": (172, -1),
        "ioperm": (173, -1),
    },
}  # fmt: skip


_LISTENING = frozenset({"socket", "bind", "listen", "accept", "accept4"})
_STARTING = frozenset({"execve"})


@dataclass(frozen=True, slots=True)
class _Machine:
    column: int  # in the table above
    audit: int  # linux/audit.h, AUDIT_ARCH_*
    clone: int
    clone3: int
    kill: int
    tgkill: int
    queueinfo: tuple[int, int]  # rt_sigqueueinfo, rt_tgsigqueueinfo
    prlimit: int
    seccomp: int
    socket: int
    high_bit: int = 0
    """A bit of the number by which another ABI is called on the same architecture."""


_MACHINES = {
    "x86_64": _Machine(0, 0xC000003E, 56, 435, 62, 234, (129, 297), 302, 317, 41, high_bit=0x40000000),
    "aarch64": _Machine(1, 0xC00000B7, 220, 435, 129, 131, (138, 240), 261, 277, 198),
}

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # struct seccomp_data, little endian
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_CLONE_THREAD = 0x00010000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1  # SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
PR_SET_NO_NEW_PRIVS = 38
_REFUSE = _ERRNO | errno.EPERM

_Instruction = tuple[int, int, int, int]


def no_new_privileges() -> bool:
    """Gives up for good what set-user-id programs could give; both Landlock and seccomp insist on it."""
    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def refuse_system_calls(*, listens: Iterable[int] = (), starts_program: bool = False) -> bool:
    """Sets the filter for all threads of this process, for good; says whether it worked.

    listens: the families of sockets that it may make and listen on (`socket.AF_UNIX`); it still connects to nobody.
    starts_program: it may become another program, which the filter then holds as well.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:  # a 32-bit program on a 64-bit kernel counts in another table
        return False
    code = [
        struct.pack("<HBBI", *instruction)
        for instruction in _program(machine, os.getpid(), tuple(listens), starts_program)
    ]

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    held = ctypes.create_string_buffer(b"".join(code))
    program = Program(len(code), ctypes.addressof(held))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        number, mode, flags = (ctypes.c_long(value) for value in (machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS))
        return bool(libc.syscall(number, mode, flags, ctypes.byref(program)) == 0)
    except (OSError, AttributeError):
        return False


def _program(
    machine: _Machine, own_pid: int, listens: tuple[int, ...] = (), starts_program: bool = False
) -> list[_Instruction]:
    """The filter: each block either decides or falls through with the number still loaded."""
    lines: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),  # system calls of another architecture would be another table
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.high_bit:
        lines += [(_JUMP_AT_LEAST, 0, 1, machine.high_bit), (_RETURN, 0, 0, _REFUSE)]
    allowed = (_LISTENING if listens else frozenset()) | (_STARTING if starts_program else frozenset())
    for calls in _REFUSED.values():
        for name, numbers in calls.items():
            if numbers[machine.column] >= 0 and name not in allowed:
                lines += [(_JUMP_EQUAL, 0, 1, numbers[machine.column]), (_RETURN, 0, 0, _REFUSE)]
    # Its flags lie in memory, where a filter can't look: without it the C library makes threads with clone.
    lines += [(_JUMP_EQUAL, 0, 1, machine.clone3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    lines += [
        (_JUMP_EQUAL, 0, 4, machine.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for number in (machine.kill, machine.tgkill, *machine.queueinfo):
        lines += _only_for(number, (own_pid,))
    lines += _only_for(machine.prlimit, (0, own_pid))
    if listens:
        lines += _only_for(machine.socket, listens)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _only_for(number: int, values: tuple[int, ...]) -> list[_Instruction]:
    """A call whose first argument is a process, or a family of sockets: allowed for these alone."""
    count = len(values)
    checks = [(_JUMP_EQUAL, count - at, 0, value) for at, value in enumerate(values)]
    body: list[_Instruction] = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *checks,
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]
