"""Who comes to a device's own broker from that very machine: whoever may read one file, not everybody who is there.

The port on loopback is open to every user and every service of the machine. So it wants a password as every other door
does: that of a user whom the operator let in, or the one that stands in a file which its owner alone may read. It stays
the same over restarts, so that who is connected comes back by itself; who removes the file has another one made.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import final

from broker.passwords import hash_password
from edge_agent.files import PRIVATE, write_atomically
from edge_agent.wire.topics import ANYBODY

LOCAL_SECRET_FILE = "local.secret"  # noqa: S105 - the name of a file
"""Beside the broker's folder, in the device's data folder. Its one line is the password."""
SECRET_BYTES = 24
_PASSWORD = re.compile(r"[A-Za-z0-9_-]{32}")  # as 24 bytes are written


@final
class LocalLogin:
    """A password for `ANYBODY`, in a file. It is known to the broker by its hash alone."""

    login = ANYBODY

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secret = _kept(path) or secrets.token_urlsafe(SECRET_BYTES)
        self.password_hash = hash_password(self._secret)

    def write(self) -> None:
        """Puts the password where its owner reads it; in the place of an earlier one.

        Raises:
            OSError: it can't be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, f"{self._secret}\n".encode(), PRIVATE)


def _kept(path: Path) -> str:
    """The password of an earlier start, "" if there is none that only its owner could read and no one could guess."""
    try:
        if not path.is_file() or path.stat().st_mode & 0o077:
            return ""
        with path.open(encoding="ascii") as file:
            text = file.readline(256).strip()
    except (OSError, ValueError):
        return ""
    return text if _PASSWORD.fullmatch(text) else ""
