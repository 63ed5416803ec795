"""Loads a configuration: explicit values over environment over file."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from edge_agent.config.model import ENV_DELIMITER, ENV_PREFIX, LISTS, AgentConfig, file_values, keys_of, section_types
from edge_agent.config.problems import Sources, find_unknown, say_setting, say_validation
from edge_agent.config.sections import FilePath
from edge_agent.core.errors import SettingsError
from edge_agent.core.policies import make_policies
from edge_agent.policies_plugins import installed_policies

FILE_BYTES_MAX = 1024 * 1024  # far above any configuration: another file was named by mistake


def load_config(path: Path | None, overrides: Mapping[str, object] | None = None) -> AgentConfig:
    """Returns the configuration that a file, the environment and explicit values make together.

    Args:
        path: an `agent.toml`; `None` for none. Relative paths inside it count from its folder.
        overrides: values by dotted key ("agent.layers"), over everything else; `None` values are not given at all.

    Raises:
        SettingsError: one line that names the place, the value and what is allowed.
    """
    text = _read(path) if path else ""
    sources = Sources(
        path=str(path) if path else "",
        text=text,
        file=_absolute_paths(_parse(path, text), path.absolute().parent) if path else {},
        environment=_environment(),
        given=_nested(overrides or {}),
    )
    if unknown := find_unknown(sources):
        raise _first_of(unknown)
    token = file_values.set(sources.file)
    try:
        config = AgentConfig(**{section: dict(values) for section, values in sources.given.items()})  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        raise _first_of(say_validation(sources, error)) from None
    except SettingsError as error:  # of AgentSettings, which pydantic lets through
        raise SettingsError(say_setting(sources, "agent", str(error))) from None
    except ValueError as error:  # a list in the environment that is not JSON
        raise SettingsError(f"environment: {error}") from None
    finally:
        file_values.reset(token)
    _check_agent(sources, config)
    return config


def _check_agent(sources: Sources, config: AgentConfig) -> None:
    """What the core's own class leaves to others: finite numbers, and policies that exist."""
    for key, value in asdict(config.agent).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(say_setting(sources, "agent", f"{key} must be finite, not {value}"))
    try:
        make_policies(config.agent, installed_policies())
    except SettingsError as error:
        raise SettingsError(say_setting(sources, "agent", str(error))) from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")  # Windows' editor begins a file with a mark
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: not UTF-8 text") from None
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(f"{path}: more than {FILE_BYTES_MAX} bytes, which is too much for a configuration file")
    return text


def _parse(path: Path | None, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = re.search(r" \(at line (\d+), column \d+\)", message)
        line = int(match[1]) if match else text.count("\n") + 1
        reason = message[: match.start()] if match else message.partition(" (")[0]
        raise SettingsError(f"{path}:{line}: not valid TOML: {reason}") from None
    except (ValueError, RecursionError):  # of the reader's own bounds
        raise SettingsError(
            f"{path}: not valid TOML: a number is too long, or lists lie too deep in each other"
        ) from None


def _environment() -> dict[str, Any]:
    """The variables of ours that name a section and a key, such as MOAMESH_AGENT__LAYERS, or a section in JSON."""
    found: dict[str, Any] = {}
    for name, value in os.environ.items():
        section = name[len(ENV_PREFIX) :].lower() if name.upper().startswith(ENV_PREFIX) else ""
        if section in section_types():
            found[section] = _from_json(name, section, value)
    for name, value in os.environ.items():
        if name.upper().startswith(ENV_PREFIX) and ENV_DELIMITER in name:
            section, _, key = name[len(ENV_PREFIX) :].lower().partition(ENV_DELIMITER)
            found.setdefault(section, {})[key] = value
    return found


def _from_json(name: str, section: str, value: str) -> Any:
    is_list = section in LISTS
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, list if is_list else dict):
        form = "a list of sections" if is_list else "a section with keys"
        raise SettingsError(f"environment {name}: must be {form}, in JSON")
    return read


def _nested(overrides: Mapping[str, object]) -> dict[str, dict[str, object]]:
    nested: dict[str, dict[str, object]] = {}
    for dotted, value in overrides.items():
        section, _, key = dotted.partition(".")
        if value is not None:
            nested.setdefault(section, {})[key] = value
    return nested


def _absolute_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the paths in a file count from the file, wherever the agent is started."""
    result = dict(values)
    for section, kind in section_types().items():
        value = result.get(section)
        paths = [key for key, hint in keys_of(kind).items() if FilePath in (hint, *get_args(hint))]
        if isinstance(value, list):
            result[section] = [_with_absolute(table, paths, folder) for table in value]
        elif value is not None:
            result[section] = _with_absolute(value, paths, folder)
    return result


def _with_absolute(table: Any, paths: list[str], folder: Path) -> Any:
    if not isinstance(table, dict):
        return table
    return table | {
        key: str(folder / Path(table[key]).expanduser())
        for key in paths
        if isinstance(table.get(key), str) and table[key] != "none"
    }


def _first_of(problems: list[str]) -> SettingsError:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return SettingsError(problems[0] + more)
