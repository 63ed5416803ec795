"""Writes a configuration as TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import SecretStr

from edge_agent.config.model import LISTS, NONE_TEXT, AgentConfig
from edge_agent.config.sections import Section
from edge_agent.core.settings import AgentSettings
from edge_agent.files import PRIVATE, write_atomically


def write_config(config: AgentConfig, path: Path) -> None:
    """Writes what differs from the defaults, so that `load_config` makes the same again. Readable by the owner alone.

    The file is complete or not there at all; missing folders are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_toml(config).encode(), PRIVATE)


def to_toml(config: AgentConfig) -> str:
    """Returns the configuration as text, **secrets included**."""
    sections = [(f"[{name}]", getattr(config, name)) for name in AgentConfig.model_fields if name not in LISTS]
    # the headers are ours: tomli-w writes a list of short tables in one line each, which is no place to edit one
    sections += [(f"[[{name}]]", table) for name in LISTS for table in getattr(config, name)]
    return "\n".join(f"{header}\n{to_lines(values)}" for header, section in sections if (values := _changed(section)))


def to_lines(values: Mapping[str, Any]) -> str:
    """Returns keys with their values as TOML writes them, a line or more for each; `None` as "none"."""
    return tomli_w.dumps({key: _plain(value) for key, value in values.items()})


def _plain(value: Any) -> Any:
    """The value as TOML knows it."""
    if value is None:
        return NONE_TEXT
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _changed(section: Section | AgentSettings) -> dict[str, Any]:
    """The keys whose value is not the default."""
    if isinstance(section, AgentSettings):
        defaults = AgentSettings()
        names = [field.name for field in fields(AgentSettings)]
        return {name: getattr(section, name) for name in names if getattr(section, name) != getattr(defaults, name)}
    return {
        name: getattr(section, name)
        for name, field in type(section).model_fields.items()
        if field.is_required() or getattr(section, name) != field.default
    }
