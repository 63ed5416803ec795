"""Room for ends on a full disk: a file of a fixed size, made while there is room, and from then on written in place.

An end that SQLite finds no room for would be told all the same, and told again, differently, by a restart that still
finds its prompt in the journal. So it is kept here, and goes into the journal once that can be written.

Each record: how long it is (4 bytes, big endian, 0 after the last one), its CRC-32 (4 bytes), its JSON.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import final

from pydantic import TypeAdapter, ValidationError

from edge_agent.core.effects import JournalAnswer
from edge_agent.files import PRIVATE, read_file, sync_folder

log = logging.getLogger(__name__)

RESERVE_BYTES = 4 * 1024 * 1024  # a thousand ends of 4 KB: a queue of the default length, many times over
FREE_SHARE = 2  # times as much as the reserve must be free before it is made: the journal needs room, too
RESERVE_ROOM_BYTES = FREE_SHARE * RESERVE_BYTES
_SUFFIX = "-ends"
_HEAD_BYTES = 8
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # what a link names is not ours to write
_RECORD = TypeAdapter(JournalAnswer)


def reserve_of(journal: Path) -> Path:
    """Where the reserve of a journal is."""
    return journal.with_name(f"{journal.name}{_SUFFIX}")


@final
class Reserve:
    """Plain blocking calls, of one thread. Every one may raise `OSError`: then the disk does not even let this."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._file: int | None = None
        self._end = 0
        self._records: list[JournalAnswer] = []

    @property
    def records(self) -> tuple[JournalAnswer, ...]:
        """The ends that the journal does not have yet, the oldest first."""
        return tuple(self._records)

    @property
    def is_open(self) -> bool:
        """Whether there is room for ends."""
        return self._file is not None

    def open(self) -> None:
        """Reads what is there; takes the room on the disk. Does nothing while its file is there and open.

        Where the file was removed meanwhile, by whoever looked for room, it is made anew with what it held.

        Raises:
            OSError: there is no such room, or no file can be there. What is known is known all the same.
        """
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            self.close()
        if self._file is not None:
            return
        held = self._records
        try:
            self._file = self._open_file()
            if held and not self._records:
                self._append(held)
        except OSError:
            self._records = self._records or held
            raise

    def put(self, records: Sequence[JournalAnswer]) -> int:
        """Keeps ends, as many of them as there is room for, in their order; returns how many are on disk."""
        self.open()
        return self._append(records)

    def clear(self) -> None:
        """The journal has them all."""
        if self._end:
            _write(self._opened(), bytes(self._end), 0)
            self._end = 0
            self._records.clear()

    def close(self) -> None:
        """May be called twice. What it holds stays on the disk, and known here."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _open_file(self) -> int:
        try:
            file = os.open(self._path, _FLAGS | os.O_CREAT | os.O_RDWR, PRIVATE)
        except OSError:
            with contextlib.suppress(OSError):
                self._read(read_file(self._path, self._size))
            raise
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "not a file", str(self._path))
            content = os.pread(file, self._size, 0)
            self._read(content)
            if len(content) < self._size:
                self._grow(file, len(content))
            elif any(content[self._end :]):  # behind records that were being cleared at a kill
                _write(file, bytes(self._size - self._end), self._end)
        except BaseException:
            os.close(file)
            raise
        return file

    def _append(self, records: Sequence[JournalAnswer]) -> int:
        blob, kept = b"", 0
        for record in records:
            body = _RECORD.dump_json(record)
            piece = len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body
            if self._end + len(blob) + len(piece) > self._size:
                break
            blob, kept = blob + piece, kept + 1
        if kept:
            _write(self._opened(), blob, self._end)
            self._end += len(blob)
            self._records += records[:kept]
        return kept

    def _grow(self, file: int, size: int) -> None:
        disk = os.fstatvfs(file)
        if disk.f_bavail * disk.f_frsize < FREE_SHARE * self._size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        try:
            # zeros that are written: what is only promised to a file may still need room when it is used
            _write(file, bytes(self._size - self._end), self._end)
        except OSError:
            os.ftruncate(file, size)
            raise
        sync_folder(self._path.parent)

    def _opened(self) -> int:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self._path))
        return self._file

    def _read(self, content: bytes) -> None:
        self._end, self._records = 0, []
        while size := int.from_bytes(content[self._end : self._end + 4], "big"):
            crc = int.from_bytes(content[self._end + 4 : self._end + _HEAD_BYTES], "big")
            body = content[self._end + _HEAD_BYTES : self._end + _HEAD_BYTES + size]
            try:
                if len(body) < size or zlib.crc32(body) != crc:
                    raise ValueError("its bytes are damaged")
                self._records.append(_RECORD.validate_json(body))
            except (ValueError, ValidationError):  # a kill in the middle of writing it: it was not told
                log.warning("%s: the end at byte %d was not written whole, and is left out", self._path, self._end)
                return
            self._end += _HEAD_BYTES + size


def _write(file: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
    os.fsync(file)
