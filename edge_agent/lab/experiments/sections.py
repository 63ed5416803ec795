"""A part of a report: text, a table, plots. Kept as JSON in the report's folder: parts can be run one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from edge_agent.core.errors import SettingsError
from edge_agent.files import PUBLIC, write_atomically
from edge_agent.lab.analysis.figures import Curve, Panel

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@final
@dataclass(frozen=True, slots=True)
class Section:
    """A part. `key` names its files; `text` are paragraphs; `conclusion` says in one line whether its bar was met."""

    key: str
    title: str
    text: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    panels: Sequence[Panel]
    conclusion: str = ""
    columns: int = 2


def keep(folder: Path, section: Section) -> None:
    """Writes the part's JSON.

    Raises:
        SettingsError: the folder cannot be written.
    """
    try:
        write_atomically(_file(folder, section.key), json.dumps(asdict(section), indent=1).encode(), PUBLIC)
    except OSError as error:
        raise SettingsError(f"cannot write to {folder}: {error.strerror}") from None


def kept(folder: Path, keys: Sequence[str]) -> list[Section]:
    """Returns those of the parts that the folder holds, in the order of `keys`."""
    files = [_file(folder, key) for key in keys]
    return [_section(path) for path in files if path.exists()]


def _file(folder: Path, key: str) -> Path:
    return folder / f"part-{key}.json"


def _section(path: Path) -> Section:
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        panels = [
            Panel(**(panel | {"curves": [Curve(**curve) for curve in panel["curves"]]}))
            for panel in fields.pop("panels")
        ]
        return Section(**fields, panels=panels)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(f"{path} is no part of a report ({error}): remove it") from None
