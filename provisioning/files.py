"""The operator's and a device's own files: `edge_agent.files`, with errors that whoever provisions can put right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_agent import files
from edge_agent.files import PRIVATE, PUBLIC, reason
from provisioning.errors import ProvisioningError

FOLDER = 0o700
FILE_BYTES_MAX = (
    16 * 1024 * 1024
)  # far more than any certificate, key or revocation list; a larger file is another file

__all__ = [
    "FOLDER",
    "PRIVATE",
    "PUBLIC",
    "locked",
    "make_folder",
    "read_file",
    "read_if_there",
    "write_atomically",
]


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replaces `path` by `content` in one step.

    Raises:
        ProvisioningError: it can't be written (full disk, permissions); what was there before is still there, whole.
    """
    try:
        files.write_atomically(path, content, mode)
    except OSError as error:
        raise ProvisioningError(f"{path} can't be written: {reason(error)}; nothing was changed") from None


def read_file(path: Path) -> bytes:
    """Returns what is in a file of ours.

    Raises:
        ProvisioningError: it is not there, can't be read, or is far too large to be ours.
    """
    try:
        return files.read_file(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ProvisioningError(f"{path}: {reason(error)}") from None


def read_if_there(path: Path) -> bytes | None:
    """Returns what is in a file of ours, `None` if nothing of that name is there.

    Raises:
        ProvisioningError: something is there that can't be read: it is damaged, not new.
    """
    try:
        return files.read_if_there(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ProvisioningError(f"{path}: {reason(error)}") from None


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
            f"folder {folder} can't be made private to its owner: {error.strerror or error}"
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps every other process that asks for the same lock out, waiting for it if need be; a killed holder lets go.

    Raises:
        ProvisioningError: the folder can't be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(folder / ".lock"))
        except OSError as error:
            raise ProvisioningError(f"folder {folder} can't be locked: {reason(error)}") from None
        files.remove_leftovers(folder)
        yield
