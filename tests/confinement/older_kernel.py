"""`python -m tests.confinement.older_kernel NUMBER,... COMMAND ...`.

Runs a command for which these system calls do not exist.

So a kernel without Landlock or seccomp is tried on one that has both: by a filter, set with prctl in seccomp's stead.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD_NUMBER, ALLOW, MISSING = (0x20, 0, 0, 0), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def main(numbers: str, *command: str) -> None:
    lines = [LOAD_NUMBER]
    for number in numbers.split(","):
        lines += [(0x15, 0, 1, int(number)), MISSING]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in [*lines, ALLOW]))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(Program(len(lines) + 1, ctypes.addressof(code))), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no filter")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
