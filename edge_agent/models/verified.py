"""Whether a model's file is still the one that was pulled, asked at each load.

A checksum reads the whole file: a second for a small model, a minute for a large one on a memory card. So a good one is
remembered beside the model, with what the file system then said of the file (size, times, inode); while that is the
same the file is not read again. This finds files that were replaced, restored, cut off or edited. It does not find what
changes the disk below the file system, as a dying memory card does, nor somebody who may write in the folder and so
may write the records too.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from edge_agent.files import PUBLIC, read_if_there, reason, write_atomically
from edge_agent.models.errors import ModelError
from edge_agent.models.progress import Stage
from edge_agent.models.store import ModelFile, read_manifest, sha256_of

VERIFIED = "verified.json"
VERIFIED_BYTES_MAX = 4096  # one checksum and five numbers


class _GivenUpError(Exception):
    pass


def verify(model: ModelFile, given_up: Callable[[], bool] = lambda: False) -> None:
    """Holds a model's file against what was recorded of it when it was pulled. Blocks while it reads.

    given_up: asked now and then; true ends it without a finding.

    Raises:
        ModelError: it is another file, or can't be read; says the command that mends it.
    """
    now = read_manifest(model.folder)  # pulled anew since: what it must be has changed with it
    if now is not None and now.path == model.path:
        model = now
    path, record = model.path, model.folder / VERIFIED
    try:
        before = _identity(path)
        if before["size"] != model.chosen.size_bytes:
            _refuse(model, f"it has {before['size']:,} bytes, and had {model.chosen.size_bytes:,}")
        if _remembered(record) == {"sha256": model.chosen.sha256, **before}:
            return
        actual = sha256_of(path, _until(given_up))
        unchanged = _identity(path) == before
    except _GivenUpError:
        return
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {reason(error)}") from error
    if actual != model.chosen.sha256:
        _refuse(model, f"its sha256 is {actual}, and was {model.chosen.sha256}")
    if unchanged:  # else it was written meanwhile, and is read again at the next load
        _remember(record, {"sha256": actual, **before})


def _identity(path: Path) -> dict[str, int]:
    """What changes when a file does. The change time can't be set back, as the time of the content can."""
    status = os.stat(path)
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def _remembered(record: Path) -> object:
    """What was written there; `None` if nothing, or nothing readable: the file is read again then."""
    try:
        content = read_if_there(record, VERIFIED_BYTES_MAX)
        return None if content is None else json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None


def _remember(record: Path, found: dict[str, object]) -> None:
    """Without it the file is read at the next load too: a folder that can't be written is no reason to fail."""
    with contextlib.suppress(OSError):
        write_atomically(record, (json.dumps(found, indent=2) + "\n").encode(), PUBLIC, durable=False)


def _until(given_up: Callable[[], bool]) -> Callable[[Stage, int, int], None]:
    def progress(_stage: Stage, _done: int, _total: int) -> None:
        if given_up():
            raise _GivenUpError

    return progress


def _refuse(model: ModelFile, why: str) -> None:
    raise ModelError(
        f"{model.path} is not the file that was pulled: {why}; run `moamesh models pull {model.name}`"
    ) from None
