"""The files of one device's telemetry: `<device>.<number>.lp`, the highest number newest."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"(?P<owner>.+)\.(?P<number>\d{8,})\.lp")
_TIME = re.compile(rb"\d{1,19}")  # longer is damage
_TAIL_BYTES = 64 * 1024  # how far back an unfinished last line is looked for; a line of ours is under 1 KiB
_CHUNK_BYTES = 256 * 1024


def list_files(folder: Path, owner: str | None = None) -> list[Path]:
    """Returns the files in `folder`, each owner's oldest first; only `owner`'s if it is given."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and owner in (None, match["owner"]) and path.is_file():  # opening a pipe would wait for its other end
            found.append((match["owner"], int(match["number"]), path))
    return [path for _, _, path in sorted(found)]


def number_of(path: Path) -> int:
    """Returns the number in a file's name; 0 for another file."""
    match = _NAME.fullmatch(path.name)
    return int(match["number"]) if match else 0


def file_path(folder: Path, owner: str, number: int) -> Path:
    """Returns the path of one of `owner`'s files."""
    return folder / f"{owner}.{number:08d}.lp"


def count_lines(path: Path, end: int | None = None) -> int:
    """Returns how many lines end in the first `end` bytes of a file (all of it by default). No file has none."""
    if not path.is_file():
        return 0
    lines = 0
    left = end if end is not None else 2**63
    try:
        with path.open("rb", buffering=0) as file:
            while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                lines += chunk.count(b"\n")
                left -= len(chunk)
    except FileNotFoundError:
        return 0
    return lines


def recent_times_ns(folder: Path, owner: str) -> list[int]:
    """Returns the times of the newest points on disk, in the order of writing; none where nothing can be read."""
    times_ns: list[int] = []
    try:
        for path in list_files(folder, owner)[-2:]:  # the newest may have just been begun
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                ends = (line.rpartition(b" ")[2] for line in file.read(_TAIL_BYTES).split(b"\n")[:-1])
            times_ns += [int(time_ns) for time_ns in ends if _TIME.fullmatch(time_ns)]
    except OSError:
        pass
    return times_ns


def cut_unfinished_line(descriptor: int) -> int:
    """Removes what a crash left of a last line (half a line may read as a wrong one) and returns the size."""
    size = os.fstat(descriptor).st_size
    end = _after_last_newline(descriptor, size)
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def line_begin(path: Path, offset: int) -> int:
    """Returns where the line begins that byte `offset` is in; `offset` itself where a line begins there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _after_last_newline(descriptor, offset)
    finally:
        os.close(descriptor)


def _after_last_newline(descriptor: int, end: int) -> int:
    while end > 0:  # a power cut may leave more than a line: zeros up to the size that the file was to have
        start = max(0, end - _TAIL_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
