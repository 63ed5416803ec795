"""Reads a secret out of the first line of a file that a setting or an option names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from edge_agent.core.errors import SettingsError

SECRET_BYTES_MAX = 4096  # tokens are under 100; a file with more in it is another file


def read_secret(path: Path, said: str) -> str:
    """Returns the first line of a file, which may be a pipe; `said` is how the setting that names it is called.

    Raises:
        SettingsError: it cannot be read, or its first line is no secret: nothing, no text, or not printable.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        text = content.decode().partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise SettingsError(f"{said} {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{said} {path}: not UTF-8 text") from None
    if len(content) > SECRET_BYTES_MAX:
        raise SettingsError(f"{said} {path}: too long for a secret")
    if not text:
        raise SettingsError(f"{said} {path}: its first line is empty")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise SettingsError(f"{said} {path}: contains control characters, so it cannot be sent as a secret")
    return text
