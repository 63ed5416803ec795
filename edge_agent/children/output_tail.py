"""What a child says: the last of it in memory, for the reason of a failure, and more of it in a log."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import final

OUTPUT_TAIL_BYTES_MAX = 16 * 1024  # enough for the end of a traceback
OLDER = ".1"  # ends the name of the log's older half
_MODE = 0o600


@final
class OutputTail:
    """Keeps the last `bytes_max` bytes that are added."""

    def __init__(self, bytes_max: int = OUTPUT_TAIL_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Takes what was said next."""
        self._kept += data
        if len(self._kept) > 2 * self._bytes_max:  # not at each call: that would move all of it each time
            del self._kept[: -self._bytes_max]

    def get(self) -> bytes:
        """Returns the last that was said."""
        return bytes(self._kept[-self._bytes_max :])

    def lines(self) -> list[str]:
        """Returns the lines that are not empty; the first may lack its beginning."""
        return [line for line in self.get().decode("utf-8", "replace").splitlines() if line.strip()]


@final
class Log:
    """A file of `bytes_max` bytes at most, and its older half of as many beside it. On a full disk it loses words.

    Raises:
        OSError: its folder is not there.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._open()

    def add(self, data: bytes) -> None:
        """Appends."""
        with contextlib.suppress(OSError):  # whoever writes goes on, and must not wait for us
            if self._file.tell() + len(data) > self._bytes_max:
                os.replace(self._path, f"{self._path}{OLDER}")
                self._file.close()
                self._open()
            self._file.write(data[-self._bytes_max :])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _open(self) -> None:
        # without a buffer, so that nothing is lost with us; what a child says may be nobody else's business
        self._file = open(  # noqa: SIM115 - open for longer than a block
            self._path, "ab", buffering=0, opener=lambda path, flags: os.open(path, flags, _MODE)
        )
