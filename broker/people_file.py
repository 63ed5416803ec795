"""Users and their passwords' hashes in a file of their own, which a broker follows and other processes may change.

For brokers without an inventory: a local fleet's, and a device's own. The file holds hashes, never secrets, and is
for its owner alone. It is either the old or the new, never half.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.access import People, UserLogin
from broker.mosquitto_files import BrokerFilesError
from broker.passwords import check_hash
from edge_agent.files import PRIVATE, locked, read_if_there, reason, write_atomically

USERS_FILE = "users.json"
USERS_MAX = 256  # people of one host; each is a few lines of the broker's files
FILE_BYTES_MAX = 1024 * 1024  # far above what USERS_MAX users with all their devices take
_WAY_OUT = "remove it and pair again"


class PeopleFileError(BrokerFilesError):
    """The file is broken, or cannot hold what is asked. One line."""


class PeopleFile:
    """Call it for everybody who may come in now; a file that is not there is nobody.

    Raises (when called, and from `users`):
        PeopleFileError: the file is broken or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> People:
        """Returns them."""
        return People(self.users())

    def users(self) -> tuple[UserLogin, ...]:
        """Returns the users, sorted by name."""
        try:
            content = read_if_there(self.path, FILE_BYTES_MAX)
        except OSError as error:
            raise PeopleFileError(f"{self.path}: {reason(error)}: {_WAY_OUT}") from None
        if content is None:
            return ()
        try:
            return tuple(_user(fields) for fields in json.loads(content)["users"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PeopleFileError(f"{self.path} is broken ({error}): {_WAY_OUT}") from None

    def replace(self, users: Iterable[UserLogin]) -> None:
        """Makes these the users, and nobody else.

        Raises:
            PeopleFileError: there are too many.
            OSError: the file cannot be written; the old one is whole.
        """
        ordered = sorted(users, key=lambda user: user.name)
        if len(ordered) > USERS_MAX:
            raise PeopleFileError(f"at most {USERS_MAX} users; remove some")
        text = json.dumps({"users": [asdict(user) for user in ordered]})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, text.encode(), PRIVATE)

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, UserLogin]]:
        """The users by name, for one process at a time; what the body leaves there is written, unless it raises."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_suffix(".lock")):
            users = {user.name: user for user in self.users()}
            yield users
            self.replace(users.values())


def _user(fields: dict[str, Any]) -> UserLogin:
    devices = fields["devices"]
    return UserLogin(fields["name"], check_hash(fields["password_hash"]), None if devices is None else tuple(devices))
