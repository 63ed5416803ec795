"""The users of a local fleet: a file in the run's folder, which the fleet's broker follows.

Another process of the same user may change it while the fleet is up (`moamesh pair`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from broker.access import People, UserLogin
from broker.passwords import hash_password
from broker.people_file import USERS_FILE, PeopleFile, PeopleFileError
from edge_agent.core.errors import SettingsError
from edge_agent.wire.topics import OPERATOR_ID

SECRET_BYTES = 24  # 192 random bits: nobody guesses them, and the QR code stays small


class FleetPeople:
    """Call it for everybody who has a password now.

    Raises (when called, and from every method):
        SettingsError: the file is broken, or what is asked for can't be done.
        OSError: the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = PeopleFile(folder / USERS_FILE)

    def __call__(self) -> People:
        """Returns them."""
        return People(self.users())

    def users(self) -> tuple[UserLogin, ...]:
        """Returns the users, sorted by name."""
        try:
            return self._file.users()
        except PeopleFileError as error:
            raise SettingsError(str(error)) from None

    def put(self, name: str, devices: Sequence[str] | None = None) -> tuple[str, bool]:
        """Adds a user, or gives one a new secret and other devices (`None` is all of them).

        Returns:
            the secret, which is kept nowhere, and whether it replaces another.
        """
        if name == OPERATOR_ID:
            raise SettingsError(f"a user may not be called {name!r}: that name is reserved")
        secret = secrets.token_urlsafe(SECRET_BYTES)
        try:
            user = UserLogin(name, hash_password(secret), tuple(dict.fromkeys(devices)) if devices else None)
            with self._file.changing() as users:
                replaced = name in users
                users[name] = user
        except (ValueError, PeopleFileError) as error:
            raise SettingsError(str(error)) from None
        return secret, replaced

    def remove(self, name: str) -> None:
        """Takes a user's secret back."""
        try:
            with self._file.changing() as users:
                if users.pop(name, None) is None:
                    there = f"there are {', '.join(sorted(users))}" if users else "nobody is paired"
                    raise SettingsError(f"no user is called {name!r}; {there}")
        except PeopleFileError as error:
            raise SettingsError(str(error)) from None
