"""Files that are either the old or the new, never half: the one writer of every state file, and how one is read.

A file is written beside its place, with its final permissions from the start, brought to the disk and renamed; then its
folder is brought to the disk. A full disk, a kill or a power cut leaves the old file whole. What a kill left beside it
is removed by the next writer of the same file.

Who reads a file of ours wants to know three cases apart: nothing is there (new), it is there, and it is there but
cannot be had (a folder, a link to nothing, no permission, far too large), which must never be taken for new.

Knows the standard library alone, so that every room may use it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

PRIVATE = 0o600
"""Mode of keys, secrets and state: for the owner alone."""
PUBLIC = 0o644
"""Mode of certificates, revocation lists and what is handed on."""
_TEMPORARY = ".tmp"


def write_atomically(path: Path, content: bytes, mode: int = PRIVATE, *, durable: bool = True) -> None:
    """Replaces `path` by `content` in one step. A link is followed: what it names is replaced.

    durable: also over a power cut. Without it a power cut may leave the old file or an empty one: only for what its
    reader can do without.

    Raises:
        OSError: it can't be written (full disk, permissions, a folder in its place); what was there is still there.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a rename would put a file in the place of a pipe or a device
        _refuse_special(target)
    descriptor, temporary = open_beside(target, mode)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    finally:
        os.close(descriptor)
    remove_leftovers(target.parent, _literal(target.name))
    if durable:
        sync_folder(target.parent)


def put_in_place(part: Path, final: Path) -> None:
    """Gives a finished file its name once its bytes are on disk: a name never stands for half a file.

    For what is too large to be written at once; `write_atomically` is for the rest.

    Raises:
        OSError: the disk is full or broken, or `final` can't be replaced.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    rename(part, final)


def rename(path: Path, new: Path) -> None:
    """Gives a file that is on the disk another name in its folder, also over a power cut; one of that name goes.

    Raises:
        OSError: the disk is broken, nothing is there, or `new` can't be replaced.
    """
    path.replace(new)
    sync_folder(new.parent)


def read_file(path: Path, bytes_max: int) -> bytes:
    """Returns what is in a file of ours.

    Raises:
        FileNotFoundError: nothing of that name is there, not even a link.
        OSError: it can't be read, is no file, or holds more than `bytes_max`, so that it is not what it should be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in its place must not block
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ENOLINK, "a link to a file that is not there", str(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            _refuse_special(path)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > bytes_max:
        raise OSError(errno.EFBIG, f"larger than {bytes_max} bytes, so not what it should be", str(path))
    return content


def read_if_there(path: Path, bytes_max: int) -> bytes | None:
    """Returns what is in a file of ours, `None` if nothing of that name is there.

    Raises:
        OSError: as `read_file`. Something is there: it must not be taken for new.
    """
    try:
        return read_file(path, bytes_max)
    except FileNotFoundError:
        return None


def is_there(path: Path) -> bool:
    """Whether anything has this name: also a link to nothing, or what may not be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def stamp(path: Path) -> object:
    """Returns what is another value once the file has changed; `None` where it can't be looked at."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def reason(error: OSError) -> str:
    """Returns what went wrong with a file, in words and without its name."""
    return error.strerror or str(error)


@contextlib.contextmanager
def locked(path: Path, waits: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Keeps all others who ask for the same lock file out, waiting if need be; a killed holder lets go.

    waits: called once before it waits for another.

    Raises:
        OSError: the lock file can't be made or opened.
    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def sync_folder(folder: Path) -> None:
    """Brings a folder's list of names to the disk.

    Raises:
        OSError: the disk is broken.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_special(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder stands in its place", str(path))
    raise OSError(errno.EINVAL, "no plain file stands in its place", str(path))


def open_beside(target: Path, mode: int = PRIVATE) -> tuple[int, Path]:
    """Opens a new file beside `target`, and holds it: what nobody holds is a leftover of a kill.

    The caller closes it once it has its name, or is removed.

    Raises:
        OSError: it can't be made.
    """
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_TEMPORARY}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE)
        if _hold(descriptor) and os.fstat(descriptor).st_nlink:
            with contextlib.suppress(OSError):  # a file system without modes, such as a card's boot partition
                os.fchmod(descriptor, mode)  # whatever the umask says
            return descriptor, temporary
        os.close(descriptor)  # another writer took it for a leftover between the two lines above


def _hold(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: nobody can take it for a leftover either
    return True


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Removes what killed writers left of the file `name` (a pattern) in a folder: what nobody holds."""
    for leftover in folder.glob(f".{name}.????????{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)


def _literal(name: str) -> str:
    """A file's name as a pattern that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
