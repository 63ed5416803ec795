"""Says in one line what is wrong with a setting: where, which value, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final, get_args

from pydantic import SecretStr, ValidationError

from edge_agent.config.model import ENV_DELIMITER, ENV_PREFIX, LISTS, keys_of, section_types
from edge_agent.config.places import find_line

_FREE_TEXT = frozenset({"instruction"})  # keys whose text goes to a model and may hold anything
VALUE_CHARACTERS_MAX = 80  # of a wrong value in a message
_SECRET_WORDS = re.compile(r"password|passwd|secret|token|key$|credential", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Sources:
    """The values before they are merged. `given` and `environment` are sections of keys, as `file` is."""

    path: str
    text: str
    file: Mapping[str, Any]
    environment: Mapping[str, Any]
    given: Mapping[str, Mapping[str, Any]]

    def place(self, section: str, key: str | None, index: int | None = None) -> tuple[str, Any]:
        """Returns where the value that counts comes from, in words, and the value (`None` if there is none)."""
        for name, source in (("given", self.given), ("environment", self.environment)):
            values = source.get(section, {})
            if not isinstance(values, Mapping):  # a list, which counts as a whole
                table = values[index] if index is not None and index < len(values) else None
                value = table.get(key or "") if isinstance(table, Mapping) else None
                return f"{name} {variable(section, None)}{f' {key}' if key else ''}", value
            if key in values if key is not None else values and section not in self.file:
                words = f"{name} {section}.{key}" if name == "given" else f"environment {variable(section, key)}"
                return words, values.get(key or "")
        line = find_line(self.text, section, key, index)
        table = self.file.get(section)
        if index is not None and isinstance(table, list) and index < len(table):
            table = table[index]
        value = table.get(key or "") if isinstance(table, Mapping) else table
        where = f"{self.path}:{line}" if line else self.path or "settings"
        label = f"[[{section}]]" if index is not None else f"[{section}]"
        return f"{where}: {label}{f' {key}' if key else ''}", value


def variable(section: str, key: str | None) -> str:
    """The environment variable of a key."""
    return ENV_PREFIX + ENV_DELIMITER.join(part.upper() for part in (section, key) if part)


def find_unknown(sources: Sources) -> list[str]:
    """Returns a line for each section or key that does not exist, and each flag where a number belongs."""
    problems: list[str] = []
    for source in (sources.given, sources.environment, sources.file):
        for section, values in source.items():
            if section not in section_types():
                where = _place_of_section(sources, source, section)
                problems.append(f"{where}: unknown{' section' if isinstance(values, Mapping) else ''}{_meant(section)}")
                continue
            if section in LISTS and not isinstance(values, list | tuple):
                where = _place_of_section(sources, source, section)
                problems.append(f"{where}: is a list of tables, in a file: write [[{section}]]")
                continue
            for index, table in _tables(section, values):
                problems += _check_keys(sources, section, table, index)
    return problems


def say_validation(sources: Sources, error: ValidationError) -> list[str]:
    """Returns a line for each problem that pydantic found."""
    problems = []
    for detail in error.errors(include_url=False, include_context=True):
        section, *rest = detail["loc"]
        index = rest[0] if rest and isinstance(rest[0], int) else None
        names = [part for part in rest if isinstance(part, str)]
        key = names[0] if names else None
        where, value = sources.place(str(section), key, index)
        if detail["type"] == "missing":
            problems.append(f"{where}: is missing (or {variable(str(section), key)} in the environment)")
            continue
        shown = "" if key is None else f" = {_show(str(section), key, value)}"
        problems.append(f"{where}{shown}: {_reword(detail['msg'])}{_close_choice(detail, value)}")
    return problems


def say_setting(sources: Sources, section: str, message: str) -> str:
    """Returns the line for an error of the core, whose message begins with the name of a key."""
    key = re.split(r"[\s:]", message, maxsplit=1)[0]
    where, _ = sources.place(section, key if key in keys_of(section_types()[section]) else None)
    return f"{where}: {message}"


def _moves_cursor(value: Any) -> bool:
    """Whether it is a text that would move the cursor of whoever reads it in a log."""
    return isinstance(value, str) and any(unicodedata.category(letter) == "Cc" for letter in value)


def _tables(section: str, values: Any) -> Iterable[tuple[int | None, Any]]:
    if section in LISTS:
        return enumerate(values) if isinstance(values, list | tuple) else []
    return [(None, values)]


def _place_of_section(sources: Sources, source: object, section: str) -> str:
    if source is sources.environment:
        return f"environment {variable(section, None)}"
    if source is sources.given:
        return f"given {section}"
    return f"{sources.path}:{find_line(sources.text, section, None) or 1}: [{section}]"


def _check_keys(sources: Sources, section: str, table: Any, index: int | None) -> Iterable[str]:
    if not isinstance(table, Mapping):
        where, _ = sources.place(section, None, index)
        yield f"{where}: must be a section with keys"
        return
    known = keys_of(section_types()[section])
    for key, value in table.items():
        where, _ = sources.place(section, key, index)
        if key not in known:
            yield f"{where}: unknown key{_meant(key, section)}"
        elif isinstance(value, bool) and bool not in (known[key], *get_args(known[key])):
            yield f"{where} = {_show(section, key, value)}: must not be true or false"
        elif key not in _FREE_TEXT and any(map(_moves_cursor, value if isinstance(value, list | tuple) else [value])):
            yield f"{where} = {_show(section, key, value)}: must not hold line breaks or control characters"


def _meant(name: str, section: str | None = None) -> str:
    """Guesses what a wrong name was meant to be."""
    sections = {other: list(keys_of(kind)) for other, kind in section_types().items()}
    candidates = sections[section] if section else list(sections)
    if nearly := difflib.get_close_matches(name, candidates, n=1, cutoff=0.85):
        return f"; did you mean {nearly[0]}?"
    homes = [other for other, keys in sections.items() if name in keys]
    if homes:
        return f"; it belongs to [{homes[0]}]"
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    for other, keys in sections.items():
        if close := difflib.get_close_matches(name, keys, n=1, cutoff=0.8):
            return f"; did you mean {close[0]} in [{other}]?"
    return f"; there are: {', '.join(candidates)}"


def _show(section: str, key: str, value: Any) -> str:
    """The value as it would stand in the file, short, and never a secret."""
    hint = keys_of(section_types()[section]).get(key)
    secret = hint is SecretStr or SecretStr in get_args(hint) or (hint is None and _SECRET_WORDS.search(key))
    if secret or "@" in str(value):  # user:password@host
        return "(not shown)"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "..."


def _reword(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should be", "must be", 1)
    message = message.replace("must be a valid integer", "must be a whole number")
    return re.sub(r"must be a (valid )?dictionary or (an )?instance of \w+", "must be a section with keys", message)


def _close_choice(detail: Any, value: Any) -> str:
    choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
