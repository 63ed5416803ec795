"""Where in a TOML text a key stands: tomllib does not tell."""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*\[(?P<array>\[)?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*["']?(?P<name>[A-Za-z0-9_.-]+)["']?\s*=""")


def find_line(text: str, section: str, key: str | None, index: int | None = None) -> int | None:
    """Returns the line (from 1) of `key` in `section`, else of the section, else `None`.

    `index` counts the tables of an array (`[[seeds]]`) from 0. A text between triple quotes that looks like a table
    may mislead it; then a message names a wrong line, nothing else.
    """
    table, seen, section_line = "", -1, None
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.fullmatch(line):
            table = match["name"]
            if table == section:
                seen += 1
                if index in (None, seen):
                    section_line = section_line or number
        elif match := _KEY.match(line):
            full_name = f"{table}.{match['name']}" if table else match["name"]
            if key is not None and full_name == f"{section}.{key}" and index in (None, seen):
                return number
            if full_name == section:  # an inline table, or a key that stands where a section is meant
                section_line = section_line or number
    return section_line
