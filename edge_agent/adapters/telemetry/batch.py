"""What is sent at once: whole lines of one file of the spool, or of what was held back of a file that is removed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge_agent.adapters.telemetry.files import count_lines
from edge_agent.adapters.telemetry.spool import Place, Spool
from edge_agent.files import PUBLIC, write_atomically

HELD_BYTES_MAX = 16 * 1024 * 1024  # over all held files of one database: far above a minute of a busy device


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of the spool, each with its newline, and where they begin."""

    start: Place
    data: bytes

    @property
    def points(self) -> int:
        """How many lines there are."""
        return self.data.count(b"\n")

    @property
    def end(self) -> Place:
        """The place after the last line."""
        return Place(self.start.number, self.start.offset + len(self.data))


def read_lines(path: Path, at: int, end: int, points_max: int, bytes_max: int) -> bytes:
    """Returns whole lines from byte `at`, at least one if there is one, and at most the given points and bytes.

    Raises:
        OSError: the file cannot be read; `FileNotFoundError` if it is gone.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(at)
        data = b""
        while at + len(data) < end and b"\n" not in data:  # a line longer than a batch is a batch of its own
            chunk = file.read(min(bytes_max, end - at - len(data)))
            if not chunk:
                break
            data += chunk
    data = data[: data.rfind(b"\n") + 1]
    return first_lines(data, points_max)


def first_lines(data: bytes, count: int) -> bytes:
    """Returns the first so many lines. Only a newline ends one: what a disk damaged may hold any other character."""
    if data.count(b"\n") <= count:
        return data
    return b"".join(line + b"\n" for line in data.split(b"\n", count)[:count])


class HeldFiles:
    """Points that must outlive their file: they may be in the database already, but no answer has said so.

    If they were counted as lost with the file, the count would be wrong when they had arrived. So they are copied
    before the file is removed, sent again, and counted by the answer. `<device>.<server>.<number>.held`: the first line
    is the offset in the removed file where the copy begins.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem

    def numbers(self) -> list[int]:
        """The numbers of the files that something is held of, in order."""
        names = (path.name.split(".")[-2] for path in self._folder.glob(f"{self._stem}.*.held"))
        return sorted(int(name) for name in names if name.isdigit())

    def hold(self, spool: Spool, number: int, start: int, end: int) -> None:
        """Copies bytes `start` to `end` of a file, unless too much is held already.

        Raises:
            OSError: the copy could not be made.
        """
        size = max(0, min(end, spool.size(number)) - start)
        if size == 0 or self.bytes_after(Place(0, 0)) + size > HELD_BYTES_MAX:
            return
        with spool.path(number).open("rb") as file:
            file.seek(start)
            write_atomically(self._path(number), b"%d\n" % start + file.read(size), PUBLIC, durable=False)

    def extent(self, number: int) -> tuple[int, int] | None:
        """Returns the offsets in the removed file between which its points are held; `None` if none are."""
        opened = self._open(number)
        return None if opened is None else (opened[0], opened[0] + self._path(number).stat().st_size - opened[1])

    def read(self, place: Place, points_max: int, bytes_max: int) -> bytes:
        """Returns whole lines from a place that is held."""
        opened = self._open(place.number)
        if opened is None:
            return b""
        start, head = opened
        path = self._path(place.number)
        return read_lines(path, place.offset - start + head, path.stat().st_size, points_max, bytes_max)

    def points_after(self, place: Place) -> int:
        """How many held points are at or after a place."""
        points = 0
        for number in self.numbers():
            opened = self._open(number)
            if opened is None or number < place.number:
                continue
            path = self._path(number)
            before = 1 if number > place.number else count_lines(path, place.offset - opened[0] + opened[1])
            points += count_lines(path) - before
        return points

    def bytes_after(self, place: Place) -> int:
        """How many held bytes are at or after a place."""
        extents = ((number, self.extent(number)) for number in self.numbers() if number >= place.number)
        return sum(
            extent[1] - (max(extent[0], place.offset) if number == place.number else extent[0])
            for number, extent in extents
            if extent is not None
        )

    def remove_before(self, number: int) -> None:
        """Removes what is held of files before `number`."""
        for held in self.numbers():
            if held < number:
                self._path(held).unlink(missing_ok=True)

    def _open(self, number: int) -> tuple[int, int] | None:
        """The offset at which the copy begins, and the bytes of its first line."""
        with contextlib.suppress(OSError, ValueError), self._path(number).open("rb") as file:
            head = file.readline(32)
            return int(head), len(head)
        return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}.{number:08d}.held"
