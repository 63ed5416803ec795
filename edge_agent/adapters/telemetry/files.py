"""Line-protocol files of one device, bounded in size and number: `<device>.<number>.lp`, the highest number newest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"(?P<owner>.+)\.(?P<number>\d{8,})\.lp")
_TAIL_BYTES = 64 * 1024  # how far back an unfinished last line is looked for; a line of ours is under 1 KiB


def list_files(folder: Path, owner: str | None = None) -> list[Path]:
    """Returns the files in `folder`, each owner's oldest first; only `owner`'s if it is given."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and owner in (None, match["owner"]):
            found.append((match["owner"], int(match["number"]), path))
    return [path for _, _, path in sorted(found)]


class RotatingFiles:
    """Appends lines to the newest file, begins another when it is full, and removes the oldest over the bound.

    A line is in a file as a whole or not at all, also after a crash or on a full disk. One writer per owner.
    """

    def __init__(self, folder: Path, owner: str, *, file_bytes_max: int, files_max: int) -> None:
        self._folder = folder
        self._owner = owner
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._descriptor: int | None = None
        self._size = 0

    def append(self, lines: Iterable[str]) -> None:
        """Appends lines (without newlines).

        Raises:
            OSError: the rest could not be written; complete lines before it may have been.
        """
        pending: list[bytes] = []
        pending_bytes = 0
        for line in lines:
            data = line.encode(errors="replace") + b"\n"
            self._ensure_open()
            if self._size + pending_bytes + len(data) > self._file_bytes_max and self._size + pending_bytes > 0:
                self._write(b"".join(pending))
                pending, pending_bytes = [], 0
                self._begin_file()
            pending.append(data)
            pending_bytes += len(data)
        if pending:
            self._write(b"".join(pending))

    def close(self) -> None:
        """Closes the file; the next `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _ensure_open(self) -> None:
        if self._descriptor is None:
            existing = list_files(self._folder, self._owner)
            self._open(existing[-1] if existing else self._path(1))

    def _begin_file(self) -> None:
        existing = list_files(self._folder, self._owner)
        newest = int(_number_of(existing[-1])) if existing else 0
        self._open(self._path(newest + 1))
        for path in [*existing, self._path(newest + 1)][: -self._files_max]:
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._owner}.{number:08d}.lp"

    def _open(self, path: Path) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = _cut_unfinished_line(self._descriptor)

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._ensure_open()
        descriptor = self._descriptor
        if descriptor is None:  # _ensure_open returns with a file or raises
            raise OSError("no telemetry file is open")
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes could be written")
        except OSError:
            os.ftruncate(descriptor, self._size)
            self.close()  # the folder may have been replaced: begin anew by name
            raise
        self._size += written


def _number_of(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return match["number"] if match else "0"


def _cut_unfinished_line(descriptor: int) -> int:
    """Removes what a crash left of a last line (half a line may read as a wrong one) and returns the size."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(descriptor, size - start, start)
    if tail and not tail.endswith(b"\n"):
        size = start + tail.rfind(b"\n") + 1
        os.ftruncate(descriptor, size)
    return size
