"""Checks passwords for ejabberd against a mosquitto password file: `python -m broker.extauth FILE`.

ejabberd keeps passwords of its own only if it is told them in clear. This way it needs none: it asks here, over stdin
and stdout, with a two-byte length before each message. The file is read again when it has changed.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import BinaryIO

from broker.passwords import matches

MESSAGE_BYTES_MAX = 65_535  # what two bytes can say
FILE_BYTES_MAX = 1024 * 1024  # thousands of users


class PasswordFile:
    """Names and hashes as they are now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._hashes: dict[str, str] = {}

    def knows(self, login: str) -> bool:
        """Whether there is such a user."""
        return login in self._read()

    def accepts(self, login: str, password: str) -> bool:
        """Whether this is the user's password."""
        password_hash = self._read().get(login)
        return password_hash is not None and matches(password, password_hash)

    def _read(self) -> dict[str, str]:
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen != self._seen:
                with self._path.open(encoding="utf-8") as file:
                    lines = file.read(FILE_BYTES_MAX).splitlines()
                self._hashes = dict(line.split(":", 1) for line in lines if ":" in line)
                self._seen = seen
        except (OSError, UnicodeDecodeError):
            self._hashes, self._seen = {}, None  # a file that can't be read lets nobody in
        return self._hashes


def answer(passwords: PasswordFile, request: bytes) -> bool:
    """Answers `auth:USER:HOST:PASSWORD` and `isuser:USER:HOST`; everything else, as changing a password, is refused."""
    parts = request.decode(errors="replace").split(":", 3)
    if parts[0] == "auth" and len(parts) == 4:
        return passwords.accepts(parts[1], parts[3])
    return parts[0] == "isuser" and len(parts) >= 3 and passwords.knows(parts[1])


def serve(passwords: PasswordFile, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until there are no more requests: ejabberd has ended."""
    while len(head := requests.read(2)) == 2:
        request = requests.read(int.from_bytes(head, "big"))
        answers.write(struct.pack(">HH", 2, answer(passwords, request)))
        answers.flush()


def main() -> None:
    """The command."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m broker.extauth PASSWORD-FILE")
    serve(PasswordFile(Path(sys.argv[1])), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
