"""Points that a database will never take, kept with its words so that a person can see why."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

REFUSED_BYTES_MAX = 1024 * 1024  # of the newest file, and as much of one older: thousands of points, enough to see why


class RefusedFile:
    """Appends refused lines, each lot under a comment with the time and the server's words (`#` in line protocol)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, lines: bytes, words: str) -> None:
        """Appends lines, each with its newline. A full file becomes `<name>.old`, in the place of the one before.

        Raises:
            OSError: they could not be written.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = f"# {at} {' '.join(words.split())}\n".encode() + lines[:REFUSED_BYTES_MAX]
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(descriptor).st_size + len(entry) > REFUSED_BYTES_MAX and os.fstat(descriptor).st_size:
                self.path.replace(self.path.with_name(self.path.name + ".old"))
                os.close(descriptor)
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.write(descriptor, entry)
        finally:
            os.close(descriptor)
