"""The tests' temporary folders lie in memory where there is room for them. A pytest plugin (see `addopts`).

What is written safely waits for the disk at each write, and a suite that writes state files all day waits for minutes,
the more so beside other programs. What a real disk does wrong (full, read-only, slow, damaged) the tests make happen by
themselves, on file systems of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
ROOM_MIN = 4 << 30
"""Bytes that must be free there: the suite uses half of it at most."""


def temporary_root(folder: Path = IN_MEMORY) -> str | None:
    """Returns `folder` if tests can use it: writable, with room, and programs may be started from it."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    fits = found.f_bavail * found.f_frsize >= ROOM_MIN and not found.f_flag & os.ST_NOEXEC
    return str(folder) if fits and os.access(folder, os.W_OK) else None


def pytest_configure() -> None:
    """Tells pytest where to make folders, unless somebody has."""
    if (root := temporary_root()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", root)
