"""How much memory of its own this process has: opened before the process is shut in, since /proc is not seen inside."""

from __future__ import annotations

import contextlib
import os

_DATA_FIELD = 5  # of /proc/PID/statm: data and stack, in pages; what RLIMIT_DATA counts, and the stack


class OwnMemory:
    """Keeps the kernel's account of this process open."""

    def __init__(self) -> None:
        try:
            self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def data_bytes(self) -> int:
        """Bytes in use; 0 where the system does not say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(os.pread(self._descriptor, 256, 0).split()[_DATA_FIELD])
            return pages * os.sysconf("SC_PAGE_SIZE")
        return 0
