"""The spool: one device's line-protocol files, bounded in size and number, with every point counted.

The files are what analysis reads and what shippers send from. The spool knows for each file how many points were
written before its first, and keeps that on disk beside them (`<device>.spool`). So a shipper that finds its file
removed knows exactly how many points it has missed, however long ago that was.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, final

from edge_agent.adapters.telemetry.files import (
    count_lines,
    cut_unfinished_line,
    file_path,
    list_files,
    number_of,
)
from edge_agent.files import PUBLIC, read_file, write_atomically

INDEX_BYTES_MAX = 1024 * 1024  # a line for each file of a spool


@final
@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place between two points: byte `offset` of file `number`."""

    number: int
    offset: int


class SpoolReader(Protocol):
    """Somebody who reads the spool from another thread. Called by the thread that writes."""

    def points_appended(self) -> None:
        """There is more to read."""
        ...

    def before_removal(self, oldest_kept: int) -> None:
        """The files before number `oldest_kept` are removed when this returns: the last moment to copy from them."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Extent:
    """What the spool holds.

    name: made at random when the spool began; another one means that its files were removed and it began anew.
    firsts: for each file's number, oldest first, how many points were written before it.
    """

    name: str
    firsts: dict[int, int]
    newest_size: int
    written: int

    @property
    def oldest(self) -> int:
        """The number of the oldest file."""
        return next(iter(self.firsts))

    @property
    def newest(self) -> int:
        """The number of the file that is being written."""
        return next(reversed(self.firsts))


class Spool:
    """Appends lines to the newest file, begins another when it is full, and removes the oldest over the bound.

    A line is in a file as a whole or not at all, also after a kill or on a full disk. `append`, `open` and `close` are
    for one thread, the others for any. One spool per owner. An appended line survives a kill; a power cut may cost what
    the system had not put on disk yet (seconds).
    """

    def __init__(self, folder: Path, owner: str, *, file_bytes_max: int, files_max: int) -> None:
        self.folder = folder
        self.owner = owner
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._extent: Extent | None = None
        self._dropped_kept = 0
        self.dropped = 0
        """Points that never reached a file, from the spool's beginning. The owner counts; `keep_counts` keeps it."""
        self.readers: list[SpoolReader] = []

    def extent(self) -> Extent | None:
        """Returns what readers may read; `None` before the spool has been opened."""
        with self._lock:
            return self._extent

    def path(self, number: int) -> Path:
        """Returns the path of a file."""
        return file_path(self.folder, self.owner, number)

    def size(self, number: int) -> int:
        """Returns how many bytes of a file readers may read; 0 for one that is gone."""
        extent = self.extent()
        if extent is not None and number == extent.newest:
            return extent.newest_size  # what is written but not yet certain to stay is not for readers
        try:
            return self.path(number).stat().st_size
        except FileNotFoundError:
            return 0

    def open(self) -> None:
        """Opens the newest file, or begins the first. `append` does so by itself.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._descriptor is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = load_index(self.folder, self.owner)
        if self._extent is None:
            self.dropped += kept.dropped
            self._dropped_kept = kept.dropped
        if not kept.firsts or not list_files(self.folder, self.owner):
            kept = SpoolIndex(secrets.token_hex(8), {}, self.dropped)
        firsts = complete_firsts(self.folder, self.owner, kept.firsts)
        if not kept.firsts:
            self._save_index(kept.name, firsts)
        self._open_file(kept.name, firsts, next(reversed(firsts)))
        for path in list_files(self.folder, self.owner):
            if number_of(path) < next(iter(firsts)):  # a kill came between their end in the index and on disk
                path.unlink(missing_ok=True)

    def look(self) -> None:
        """Reads from disk what is there, to see the figures of a device that another process runs. Writes nothing."""
        kept = load_index(self.folder, self.owner)
        firsts = complete_firsts(self.folder, self.owner, kept.firsts)
        newest = self.path(next(reversed(firsts)))
        size = newest.stat().st_size if newest.exists() else 0
        self.dropped = kept.dropped
        with self._lock:
            self._extent = Extent(kept.name, firsts, size, firsts[number_of(newest)] + count_lines(newest, size))

    def append(self, lines: Iterable[str]) -> None:
        """Appends lines (without newlines).

        Raises:
            OSError: the rest could not be written; complete lines before it may have been (see `extent().written`).
        """
        pending: list[bytes] = []
        pending_bytes = 0
        for line in lines:
            data = line.encode(errors="replace") + b"\n"
            self.open()
            used = self._opened().newest_size + pending_bytes
            if used + len(data) > self._file_bytes_max and used > 0:
                self._write(pending)
                pending, pending_bytes = [], 0
                self._begin_file()
            pending.append(data)
            pending_bytes += len(data)
        self._write(pending)

    def keep_counts(self) -> None:
        """Puts `dropped` on disk if it has changed.

        Raises:
            OSError: it could not be written.
        """
        extent = self.extent()
        if extent is not None and self.dropped != self._dropped_kept:
            self._save_index(extent.name, extent.firsts)

    def close(self) -> None:
        """Closes the file; the next `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> Extent:
        extent = self.extent()
        if extent is None or self._descriptor is None:  # open() returns with a file or raises
            raise OSError("no telemetry file is open")
        return extent

    def _begin_file(self) -> None:
        extent = self._opened()
        firsts = extent.firsts | {extent.newest + 1: extent.written}
        kept = dict(list(firsts.items())[-self._files_max :])
        removed = [number for number in firsts if number not in kept]
        if removed:
            for reader in self.readers:
                reader.before_removal(next(iter(kept)))
        self._save_index(
            extent.name, kept
        )  # first in the index, then on disk: a kill in between leaves files too many, not too few
        self.close()
        self._open_file(extent.name, kept, extent.newest + 1)
        for number in removed:
            self.path(number).unlink(missing_ok=True)

    def _open_file(self, name: str, firsts: dict[int, int], number: int) -> None:
        path = self.path(number)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{path} is no file")
            size = cut_unfinished_line(descriptor)
            written = firsts[number] + count_lines(path, size)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        with self._lock:
            self._extent = Extent(name, firsts, size, written)

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        self.open()
        extent, descriptor = self._opened(), self._descriptor
        if descriptor is None:
            raise OSError("no telemetry file is open")
        data = b"".join(lines)
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")
        except OSError:
            try:
                os.ftruncate(descriptor, extent.newest_size)
            finally:
                self.close()  # the folder may have been replaced: begin anew by name
            raise
        with self._lock:
            self._extent = replace(
                extent, newest_size=extent.newest_size + written, written=extent.written + len(lines)
            )
        for reader in self.readers:
            reader.points_appended()

    def _save_index(self, name: str, firsts: dict[int, int]) -> None:
        dropped = self.dropped
        files = {str(number): first for number, first in firsts.items()}
        content = {"name": name, "files": files, "dropped": dropped}
        write_atomically(_index_path(self.folder, self.owner), json.dumps(content).encode(), PUBLIC)
        self._dropped_kept = dropped


@final
@dataclass(frozen=True, slots=True)
class SpoolIndex:
    """What `<device>.spool` says: the spool's name, its files with the points written before each, points dropped."""

    name: str
    firsts: dict[int, int]
    dropped: int


def load_index(folder: Path, owner: str) -> SpoolIndex:
    """Returns the index that is kept on disk; an empty one if there is none that can be read."""
    try:
        content = json.loads(read_file(_index_path(folder, owner), INDEX_BYTES_MAX))
        firsts = {int(number): int(first) for number, first in content["files"].items()}
        return SpoolIndex(str(content["name"]), dict(sorted(firsts.items())), int(content["dropped"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return SpoolIndex("", {}, 0)


def complete_firsts(folder: Path, owner: str, kept: dict[int, int]) -> dict[int, int]:
    """Returns for each file how many points were written before it: as kept, or counted for files not in the index.

    At least one file is in it: the one to write, which may not be there yet.
    """
    there = {number_of(path) for path in list_files(folder, owner)}
    if kept:
        there = {number for number in there if number >= min(kept)} | {max(kept)}
    firsts: dict[int, int] = {}
    following = 0
    for number in sorted(there) or [1]:
        firsts[number] = kept.get(number, following)
        if number + 1 not in kept:  # the next one's beginning must be counted
            following = firsts[number] + count_lines(file_path(folder, owner, number))
    return firsts


def _index_path(folder: Path, owner: str) -> Path:
    return folder / f"{owner}.spool"
