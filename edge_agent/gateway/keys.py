"""API keys: who may use the gateway. The file holds names and hashes, and is followed while the gateway runs.

A key is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess, and every request is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.core.errors import SettingsError
from edge_agent.files import PRIVATE, read_if_there, reason, write_atomically

log = logging.getLogger(__name__)

KEY_PREFIX: Final = "sk-moamesh-"  # so that people and secret scanners know what it is
KEY_BYTES: Final = 32
KEYS_MAX: Final = 1024
FILE_BYTES_MAX: Final = 1024 * 1024  # far above so many keys: another file was named by mistake
_WAY_OUT: Final = "put a copy back, or move it away and make new keys (moamesh gateway key add NAME)"


@final
class ApiKey(BaseModel):
    """One key, as the file keeps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: str = Field(max_length=32)
    ending: str = Field(max_length=8, description="the key's last characters, by which its owner knows it")


@final
class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    keys: tuple[ApiKey, ...] = Field(default=(), max_length=KEYS_MAX)


def load_keys(file: Path) -> tuple[ApiKey, ...]:
    """Returns the keys in a file; none if it is not there.

    Raises:
        SettingsError: it cannot be read, or is no file of keys.
    """
    try:
        content = read_if_there(file, FILE_BYTES_MAX)
        return () if content is None else _Content.model_validate_json(content).keys
    except OSError as error:
        raise SettingsError(f"{file}: {reason(error)}; {_WAY_OUT}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(f"{file}: not a file of API keys: {place}: {first['msg']}; {_WAY_OUT}") from None


def add_key(file: Path, name: str) -> str:
    """Makes a key and returns it; it is kept nowhere, only its hash is.

    Raises:
        SettingsError: the name is taken or malformed, or the file cannot be written.
    """
    keys = load_keys(file)
    if any(key.name == name for key in keys):
        raise SettingsError(f"there is a key of {name} already: remove it first, or choose another name")
    if len(keys) >= KEYS_MAX:
        raise SettingsError(f"{file}: {KEYS_MAX} keys is the most that it can hold")
    secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        key = ApiKey(name=name, sha256=_digest(secret), created=created, ending=secret[-4:])
    except ValidationError:
        raise SettingsError(
            f"a key's name must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', not {name[:64]!r}"
        ) from None
    _write(file, (*keys, key))
    return secret


def remove_key(file: Path, name: str) -> None:
    """Removes a key; a running gateway refuses it from its next request on.

    Raises:
        SettingsError: there is none of that name, or the file cannot be written.
    """
    keys = load_keys(file)
    left = tuple(key for key in keys if key.name != name)
    if len(left) == len(keys):
        there = ", ".join(key.name for key in keys) or "none"
        raise SettingsError(f"there is no key of {name} in {file} (there are: {there})")
    _write(file, left)


@final
class KeyRing:
    """The keys as they are now. Once there was a key, one is always needed: an emptied file must not open the door."""

    def __init__(self, file: Path) -> None:
        """Reads the file.

        Raises:
            SettingsError: it is damaged.
        """
        self._file = file
        self._seen = _signature(file)
        self._names: dict[str, str] = {}
        self.needed = False
        """Whether a request must bring a key."""
        self._take(load_keys(file))

    def name_of(self, secret: str) -> str | None:
        """Returns whose key this is, or None. Reads the file again if it has changed."""
        self.refresh()
        return self._names.get(_digest(secret))  # a dict of hashes tells by its timing nothing about the key

    def refresh(self) -> None:
        """Follows the file. A damaged one changes nothing: who had a key has it, and nobody else."""
        signature = _signature(self._file)
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._take(load_keys(self._file))
        except SettingsError as error:
            log.error("%s; the previous keys stay in use", error)

    def _take(self, keys: tuple[ApiKey, ...]) -> None:
        self._names = {key.sha256: key.name for key in keys}
        self.needed = self.needed or bool(keys)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _signature(file: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        stat = file.stat()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
    return None


def _write(file: Path, keys: tuple[ApiKey, ...]) -> None:
    """Replaces the file whole, readable by its owner alone: a gateway that reads meanwhile sees the old or the new."""
    text = json.dumps(_Content(keys=keys).model_dump(), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode(), PRIVATE)
    except OSError as error:
        raise SettingsError(f"{file} can't be written: {reason(error)}; nothing was changed") from None
