"""Opens the journal's SQLite file: durable settings, schema version, and what to do with a damaged file."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.core.errors import JournalError
from edge_agent.files import PRIVATE, sync_folder

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
SCHEMA_VERSION_MAX = 1000  # no journal of ours will ever say more: it is damaged, not newer
PAGE_BYTES = 4096
FILE_BYTES_MAX = 512 * 1024 * 1024  # over three times the largest sessions a full default queue can hold
WAL_BYTES_KEPT = 4 * 1024 * 1024  # what SQLite's own checkpoints reach; a longer one is cut back after a burst
LOCK_WAIT_S = 2.0  # a killed agent that is still leaving memory; longer is another one that runs
SET_ASIDE_MAX = 3  # damaged files kept for a look; a failing card must not fill itself with them
_MAGIC = b"SQLite format 3\0"
_FORMATS = slice(18, 20)  # of the header: the versions of the format that are needed to write and to read

_SCHEMA = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE prompts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance
    prompt_id TEXT NOT NULL, inbox TEXT NOT NULL, reply TEXT NOT NULL, prompt TEXT NOT NULL,
    deadline_in_s REAL, elapsed_s REAL NOT NULL, restarts INTEGER NOT NULL,
    layer_count INTEGER, fanout INTEGER,  -- the plan, NULL where version 1 wrote the prompt
    wall_s REAL NOT NULL, boot_id TEXT NOT NULL, since_boot_s REAL NOT NULL,
    UNIQUE (prompt_id, inbox)
);
CREATE TABLE layers (
    prompt INTEGER NOT NULL REFERENCES prompts (number) ON DELETE CASCADE,
    layer INTEGER NOT NULL, joined TEXT NOT NULL,
    PRIMARY KEY (prompt, layer)
);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    prompt_id TEXT NOT NULL, inbox TEXT NOT NULL, reply TEXT NOT NULL, answer TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    wall_s REAL NOT NULL, boot_id TEXT NOT NULL, since_boot_s REAL NOT NULL,
    UNIQUE (prompt_id, inbox)
);
"""

_MIGRATIONS = {
    # 2 keeps the plan of a prompt, and with a layer's responses what was missing and replaced in it
    1: """
ALTER TABLE prompts ADD COLUMN layer_count INTEGER;
ALTER TABLE prompts ADD COLUMN fanout INTEGER;
ALTER TABLE layers RENAME COLUMN responses TO joined;
UPDATE layers SET joined = '{"responses":' || joined || '}';
""",
    # 3 knows a prompt by whose it is and which client's. Before, a topic said it, whose last name was the user's
    # wherever a broker knew its users. Two that come out the same are one prompt asked twice: the later one stays.
    2: "".join(
        """
UPDATE TABLE SET reply = json_set(json_remove(reply, '$.topic'), '$.client', '0', '$.principal',
    'user.' || substr(reply_topic, instr(reply_topic, '/answers/') + 9)) WHERE json_valid(reply);
ALTER TABLE TABLE RENAME COLUMN reply_topic TO inbox;
UPDATE OR REPLACE TABLE SET inbox = 'user.' || substr(inbox, instr(inbox, '/answers/') + 9) || '/0';
""".replace("TABLE SET", f"{table} SET").replace("TABLE TABLE", f"TABLE {table}")
        for table in ("prompts", "answers")
    ),
}
"""What makes a journal of each version one of the next."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, rather than locked, full or forbidden."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_foreign(error: sqlite3.Error) -> bool:
    """Whether the file has other tables or columns than ours: our statements are right, so its own are damaged, or it
    is another program's. Of an error met while the journal is opened."""
    return is_damage(error) or _code(error) == sqlite3.SQLITE_ERROR


def open_database(path: Path) -> sqlite3.Connection:
    """Returns a connection to the journal at `path`, made if it does not exist. Owner-only: prompts are private.

    Raises:
        JournalError: a newer moamesh wrote it.
        sqlite3.Error: it is locked, damaged, or the disk fails.
        OSError: the folder or file cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE))
    sync_folder(path.parent)
    _check_header(path)
    connection = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
    # a damaged letter makes its own row unreadable, and no other; SQLite does not look at what a text holds
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        # EXCLUSIVE: two agents on one journal would both answer its prompts. It comes first, or a `-shm` file is made
        shape = ("auto_vacuum = INCREMENTAL",) if path.stat().st_size == 0 else ()  # it would be written every time
        for pragma in (
            "locking_mode = EXCLUSIVE",
            f"page_size = {PAGE_BYTES}",
            *shape,
            "journal_mode = WAL",
            "synchronous = FULL",  # `synchronise` says otherwise for what need not survive a power cut
            "foreign_keys = ON",
            f"journal_size_limit = {WAL_BYTES_KEPT}",
            f"max_page_count = {FILE_BYTES_MAX // PAGE_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        _check(connection)
        _prepare_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def set_aside(path: Path) -> Path:
    """Renames a damaged journal so that a new one can begin, and returns its new name; it may be gone altogether."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    for suffix in ("-wal", "-shm"):  # SQLite would replay them into the new file
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)
    for old in _damaged_files(path)[:-SET_ASIDE_MAX]:
        for suffix in ("", "-wal", "-shm"):
            old.with_name(old.name + suffix).unlink(missing_ok=True)
    return aside


def synchronise(connection: sqlite3.Connection, durable: bool) -> None:
    """Says whether the next transactions wait for the disk. Those that do not survive a kill, but maybe no power cut;
    the next one that waits takes them along."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is on disk when this ends, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _damaged_files(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(file for file in found if not file.name.endswith(("-wal", "-shm")))


def _check_header(path: Path) -> None:
    """SQLite takes two damaged bytes there for a newer format, and says that the disk is read-only."""
    with path.open("rb") as file:
        header = file.read(_FORMATS.stop)
    if header.startswith(_MAGIC) and not {*header[_FORMATS]} <= {1, 2}:
        raise _damaged("its header is damaged")


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damaged(found)


def _prepare_schema(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= SCHEMA_VERSION_MAX:
        raise _damaged(f"it says that it is of version {version}")
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} was written by a newer moamesh (journal version {version}, this one reads up to "
            f"{SCHEMA_VERSION}): update moamesh, or name another data_dir"
        )
    steps = [_SCHEMA] if version == 0 else [_MIGRATIONS[old] for old in range(version, SCHEMA_VERSION)]
    if steps:
        with transaction(connection):
            for statement in ";\n".join(steps).split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
