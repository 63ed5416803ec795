"""The users of a local fleet: a file in the run's folder, which the fleet's broker follows.

Another process of the same user may change it while the fleet is up (`moamesh pair`). It holds hashes, never secrets.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.access import People, UserLogin
from broker.passwords import check_hash, hash_password
from edge_agent.core.errors import SettingsError
from edge_agent.wire.topics import OPERATOR_ID, check_id

USERS_FILE = "users.json"
USERS_MAX = 256  # people who try one host's mesh; each is a few lines of the broker's files
FILE_BYTES_MAX = 1024 * 1024  # far above what USERS_MAX users with all their devices take
SECRET_BYTES = 24  # 192 random bits: nobody guesses them, and the QR code stays small


class FleetPeople:
    """Call it for everybody who has a password now."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / USERS_FILE

    def __call__(self) -> People:
        """Returns them.

        Raises:
            SettingsError: the file is broken.
            OSError: it cannot be read.
        """
        return People(self.users())

    def users(self) -> tuple[UserLogin, ...]:
        """Returns the users, sorted by name.

        Raises:
            SettingsError: the file is broken.
            OSError: it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return ()
        try:
            return tuple(_user(fields) for fields in json.loads(content)["users"])
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{self._path} is broken: {error}; remove it and pair again") from None

    def put(self, name: str, devices: Sequence[str] | None = None) -> tuple[str, bool]:
        """Adds a user, or gives one a new secret and new devices (`None` is all of them).

        Returns:
            the secret, which is kept nowhere, and whether it replaces another.

        Raises:
            SettingsError: a name is none, or there are too many users.
            OSError: the file cannot be written.
        """
        if name == OPERATOR_ID:
            raise SettingsError(f"a user may not be called {name!r}: that name means somebody else")
        secret = secrets.token_urlsafe(SECRET_BYTES)
        try:
            check_id(name, "user")
            user = UserLogin(name, hash_password(secret), tuple(dict.fromkeys(devices)) if devices else None)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        with self._changing() as users:
            replaced = name in users
            users[name] = user
            if len(users) > USERS_MAX:
                raise SettingsError(f"a local fleet has at most {USERS_MAX} users; remove some")
        return secret, replaced

    def remove(self, name: str) -> None:
        """Takes a user's secret back.

        Raises:
            SettingsError: nobody is called so.
            OSError: the file cannot be written.
        """
        with self._changing() as users:
            if users.pop(name, None) is None:
                raise SettingsError(f"no user is called {name!r}; there {_who(sorted(users))}")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, UserLogin]]:
        """One process at a time; what the body leaves in the dictionary is written, unless it raises."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            users = {user.name: user for user in self.users()}
            yield users
            self._write(users)
        finally:
            os.close(lock)

    def _write(self, users: dict[str, UserLogin]) -> None:
        text = json.dumps({"users": [asdict(users[name]) for name in sorted(users)]})
        beside = self._path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(self._path)


def _user(fields: dict[str, Any]) -> UserLogin:
    devices = fields["devices"]
    return UserLogin(fields["name"], check_hash(fields["password_hash"]), None if devices is None else tuple(devices))


def _who(names: Sequence[str]) -> str:
    return f"are {', '.join(names)}" if names else "are none yet"
