"""Landlock: a process gives up, for itself and for good, every path that it does not name. Linux 5.13 and newer.

https://docs.kernel.org/userspace-api/landlock.html. Called by number through ctypes: a handful of calls, and the
binding would be one more package that a process imports before it is confined.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

# The same numbers on every architecture (they are newer than the common table).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_SOCKET = 1 << 5, 1 << 9
_TRUNCATE, _DEVICE_CALLS = 1 << 14, 1 << 15
_FS_RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1  # since ABI 4
_SCOPES = 1 << 0 | 1 << 1  # abstract Unix sockets and signals, since ABI 6
_NET_SINCE_ABI, _SCOPES_SINCE_ABI = 4, 6


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("access_fs", ctypes.c_uint64), ("access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_abi() -> int:
    """Returns the version of Landlock that this kernel has; 0: none, or it is switched off."""
    version = _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return max(0, version)


def restrict_to(
    readable: Iterable[Path],
    writable: Iterable[Path] = (),
    *,
    sockets: Path | None = None,
    programs: Iterable[Path] = (),
    listens_on_tcp: bool = False,
) -> bool:
    """Leaves this process the given files and folders to read, and files to write; says whether it worked.

    Only the calling thread and what it starts are restricted: call it before there are others, and after
    PR_SET_NO_NEW_PRIVS. What can't be opened is left out. No program can be started but `programs`, no TCP port be
    reached or, unless `listens_on_tcp`, bound, no process outside be signalled or looked into, as far as the kernel's
    version of Landlock goes. `sockets`: a folder for Unix sockets of its own.
    """
    abi = landlock_abi()
    if abi == 0:
        return False
    handled = next(_FS_RIGHTS_OF_ABI[version] for version in sorted(_FS_RIGHTS_OF_ABI, reverse=True) if version <= abi)
    ports = _CONNECT_TCP if listens_on_tcp else _CONNECT_TCP | _BIND_TCP
    attr = _RulesetAttr(handled, ports if abi >= _NET_SINCE_ABI else 0, _SCOPES if abi >= _SCOPES_SINCE_ABI else 0)
    # An older kernel knows a shorter structure, and takes this one because the rest of it is zero.
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attr), ctypes.sizeof(attr), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow(ruleset, path, handled & (_READ_FILE | _READ_DIR))
        for path in writable:
            _allow(ruleset, path, handled & (_READ_FILE | _WRITE_FILE | _TRUNCATE | _DEVICE_CALLS))
        for path in programs:
            _allow(ruleset, path, handled & _EXECUTE)
        if sockets is not None:
            _allow(ruleset, sockets, handled & (_READ_DIR | _MAKE_SOCKET | _REMOVE_FILE))
        return _call(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                access &= ~(_READ_DIR | _MAKE_SOCKET | _REMOVE_FILE)  # rights of folders alone
            rule = _PathBeneathAttr(access, descriptor)
            _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        whole = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        return int(libc.syscall(ctypes.c_long(number), *whole))
    except (OSError, AttributeError):  # no Linux
        return -1
