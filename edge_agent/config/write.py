"""Writes a configuration as TOML."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

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
    parts = [
        _table(f"[{name}]", _changed(getattr(config, name))) for name in AgentConfig.model_fields if name not in LISTS
    ]
    parts += [_table(f"[[{name}]]", _changed(table)) for name in LISTS for table in getattr(config, name)]
    return "\n".join(part for part in parts if part)


def to_toml_value(value: Any) -> str:
    """Returns a value as TOML writes it; `None` as "none"."""
    if value is None:
        return json.dumps(NONE_TEXT)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml_value(item) for item in value)}]"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    # JSON's escapes are TOML's, but TOML also wants DEL escaped, and characters beyond 16 bits whole
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


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


def _table(header: str, values: dict[str, Any]) -> str:
    if not values:
        return ""
    return "\n".join([header, *(f"{key} = {to_toml_value(value)}" for key, value in values.items()), ""])
