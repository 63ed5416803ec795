"""What is wrong with the folder that telemetry is written to, in one line with the way out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_BLOCK_BYTES = 4096  # what a few points need
_MAKE_ROOM = "make room, or lower files_max under [telemetry]"
_GIVE_RIGHT = "give the agent's user the right to write there"
_IN_ITS_PLACE = "move away what is in its place"
_WAYS = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EROFS: "its disk is mounted read-only: remount it, and check the card",
    errno.EACCES: _GIVE_RIGHT,
    errno.EPERM: _GIVE_RIGHT,
    errno.EIO: "the disk or card is failing: replace it",
    errno.EISDIR: _IN_ITS_PLACE,
    errno.ENOTDIR: _IN_ITS_PLACE,
    errno.EEXIST: _IN_ITS_PLACE,
}


def say_trouble(folder: Path, error: Exception) -> str:
    """Returns why points are dropped just now, on one line."""
    if not isinstance(error, OSError):
        return f"telemetry in {folder} fails: {type(error).__name__}: {error}"
    # the system's words for it, so that one trouble is told once however it shows
    reason = os.strerror(error.errno) if error.errno else str(error)
    place = error.filename or folder
    way = _WAYS.get(error.errno or 0)
    return (
        f"telemetry cannot be written: {reason}{f'; {way}' if way else ''} ({place}; points are dropped until it can)"
    )


def look_at_folder(folder: Path) -> str:
    """Returns why nothing could be written to a folder now, as far as can be seen without writing; "" if nothing is."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return say_trouble(folder, error)
    if disk.f_flag & os.ST_RDONLY:
        return say_trouble(folder, OSError(errno.EROFS, os.strerror(errno.EROFS)))
    if disk.f_bavail * disk.f_frsize < _BLOCK_BYTES:
        return say_trouble(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return ""
