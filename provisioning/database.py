"""The operator's SQLite files: made whole or not at all, and never taken for new when they are damaged.

SQLite takes an empty file for a new database, and so did we: after a power cut a mesh had no devices. A database of
ours is made beside its place and gets its name when it is on the disk; what has the name and is not ours is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from edge_agent.files import is_there, open_beside, read_file, reason, sync_folder
from provisioning.errors import ProvisioningError

LOCK_TIMEOUT_S = 10.0  # writers take milliseconds; a memory card that is being written elsewhere may take seconds
_MAGIC = b"SQLite format 3\0"
_PAGE_BYTES_MAX = 65_536
_ROOM = "make room on its disk; nothing was changed"
_WRITABLE = "mount its disk writable, or give the right to write it; nothing was changed"
_FAILING = "its disk is failing: copy what is there before anything else"
_BUSY = "another command is writing it: try again when that has ended"
_WAYS_SQLITE = {
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_READONLY: _WRITABLE,
    sqlite3.SQLITE_PERM: _WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _WRITABLE,
    sqlite3.SQLITE_IOERR: _FAILING,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
}
_WAYS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EIO: _FAILING,
}


def open_database(
    path: Path, schema: str, version: int, way_out: str, upgrades: Mapping[int, str] | None = None
) -> sqlite3.Connection:
    """Opens a database that is there. `way_out` says what to do about a damaged one.

    upgrades: by version, the statements that make of a database of that version one of the next. It is upgraded as a
        whole or stays as it was; a moamesh of before then refuses it.

    Raises:
        ProvisioningError: it is not there, damaged, another program's, or of a later version. One line.
    """
    if not is_there(path):
        raise ProvisioningError(f"{path} is gone: {way_out}")
    try:
        head = _first_bytes(path)
    except OSError as error:
        raise cannot_be_used(path, error, way_out) from None
    if head != _MAGIC:
        what = "is empty" if not head else "is not a database"
        raise ProvisioningError(f"{path} {what}, as after a power cut: {way_out}")
    try:
        database = sqlite3.connect(path, isolation_level=None, timeout=LOCK_TIMEOUT_S)
        try:
            _upgrade(database, version, upgrades or {})
            _check(database, path, schema, version, way_out)
        except BaseException:
            database.close()
            raise
    except sqlite3.Error as error:
        raise cannot_be_used(path, error, way_out) from None
    return database


def cannot_be_used(path: Path, error: Exception, way_out: str) -> ProvisioningError:
    """Returns what to say of an error; `way_out` is for a damaged file alone. On a full disk there is a good one, and
    who moved that away would lose every device."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return ProvisioningError(f"{path} can't be used: {error}: {_WAYS_SQLITE.get(code, way_out)}")
    if isinstance(error, OSError):
        return ProvisioningError(f"{path}: {reason(error)}: {_WAYS.get(error.errno or 0, way_out)}")
    return ProvisioningError(f"{path} can't be used: {error}: {way_out}")


def make_database(path: Path, schema: str, version: int) -> None:
    """Makes an empty database, unless something has its name. A kill or a full disk leaves none.

    Raises:
        ProvisioningError: it can't be written.
    """
    if is_there(path):
        return
    try:
        descriptor, new = open_beside(path)
        try:
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(f"BEGIN; {schema} PRAGMA user_version = {version}; COMMIT;")
            with contextlib.suppress(FileExistsError):  # another process was as quick; its database is as empty
                os.link(new, path)
        finally:
            new.unlink(missing_ok=True)
            os.close(descriptor)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise ProvisioningError(f"{path} can't be written: {why}; nothing was changed") from None


def _first_bytes(path: Path) -> bytes:
    """Returns the first bytes of a plain file, which the process may write too."""
    if not path.is_file():
        read_file(path, _PAGE_BYTES_MAX)  # says what it is instead
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, len(_MAGIC))
    finally:
        os.close(descriptor)


def _upgrade(database: sqlite3.Connection, version: int, upgrades: Mapping[int, str]) -> None:
    if _version_of(database) not in upgrades:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        while (found := _version_of(database)) < version and found in upgrades:  # another process may have been first
            for statement in upgrades[found].split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {found + 1}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _version_of(database: sqlite3.Connection) -> int:
    (found,) = database.execute("PRAGMA user_version").fetchone()
    return int(found)


def _check(database: sqlite3.Connection, path: Path, schema: str, version: int, way_out: str) -> None:
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    found = _version_of(database)
    if found > version:
        raise ProvisioningError(f"{path} was written by a newer moamesh; use that version")
    wanted, there = _names_in(schema), {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    if found != version or not wanted <= there:
        raise ProvisioningError(f"{path} does not contain what it should: {way_out}")


def _names_in(schema: str) -> set[str]:
    """The tables, indexes and views that a schema makes, each by `CREATE ... IF NOT EXISTS name`."""
    words = schema.split()
    return {words[at + 1] for at, word in enumerate(words) if word == "EXISTS"}
