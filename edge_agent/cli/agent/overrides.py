"""`--set section.key=value` from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

from edge_agent.core.errors import SettingsError


def parse_overrides(texts: Sequence[str]) -> dict[str, object]:
    """Values by dotted key. A value is read as TOML where it is TOML (numbers, true, lists), else as text.

    Raises:
        SettingsError: a text is not of the form section.key=value.
    """
    return dict(_parse(text) for text in texts)


def _parse(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise SettingsError(f"--set takes section.key=value, such as agent.layers=1, not {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, or over the bounds of its reader
        return name.strip(), value
