"""Files that are either the old or the new, never half, and never readable by others for a moment.

A file is written beside its place, with its final permissions from the start, brought to the disk and renamed. A full
disk, a kill or a power cut leaves the old file whole. What a kill left beside it is removed by the next writer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from provisioning.errors import ProvisioningError

PRIVATE = 0o600  # keys and secrets
PUBLIC = 0o644  # certificates and revocation lists: brokers run as users of their own
FOLDER = 0o700
FILE_BYTES_MAX = (
    16 * 1024 * 1024
)  # far more than any certificate, key or revocation list; a larger file is another file
_TEMPORARY = ".tmp"


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replaces `path` by `content` in one step.

    Raises:
        ProvisioningError: it can't be written (full disk, permissions); what was there before is still there, whole.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        try:
            _write(temporary, content, mode)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ProvisioningError(f"{path} can't be written: {error.strerror or error}; nothing was changed") from None


def read_file(path: Path) -> bytes:
    """Returns what is in a file of ours.

    Raises:
        ProvisioningError: it is not there, can't be read, or is far too large to be ours.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ProvisioningError(f"{path}: {error.strerror or error}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ProvisioningError(f"{path} is too large to be what it should be")
    return content


def make_folder(folder: Path) -> None:
    """Makes a folder for its owner alone, with those above it, or tightens one that is there.

    Raises:
        ProvisioningError: it can't be made, or belongs to another user.
    """
    try:
        folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        folder.chmod(FOLDER)
    except OSError as error:
        raise ProvisioningError(
            f"folder {folder} can't be made for its owner alone: {error.strerror or error}"
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps every other process that asks for the same lock out, waiting for it if need be; a killed holder lets go.

    Raises:
        ProvisioningError: the folder can't be written.
    """
    try:
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise ProvisioningError(f"folder {folder} can't be locked: {error.strerror or error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(f".*{_TEMPORARY}"):
            with contextlib.suppress(OSError):
                leftover.unlink()
        yield
    finally:
        os.close(lock)


def _write(path: Path, content: bytes, mode: int) -> None:
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE)
    try:
        os.fchmod(file, mode)  # whatever the umask says
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
