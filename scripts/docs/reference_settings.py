"""Every key of agent.toml as tables, read off the annotated example, which is made from the code and complete."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from edge_agent.config.example import make_example

_SECTION = re.compile(r"(?:# )?(?P<name>\[\[?\w+\]?\])")
_KEY = re.compile(r"(?:# )?(?P<key>[a-z_]+) = (?P<value>(?:\"[^\"]*\"|[^#])+?)\s*(?:#\s*(?P<text>.+))?")
# What the example has no room for.
_UNSAID = {
    "device_id": "a device of the mesh",
    "home_broker": "where it is at home",
    "answers_kept_s": "how long a finished answer can be had again",
}
_NOTE = re.compile(r"#+ (?P<text>.+)")


def render() -> str:
    """Returns the page."""
    return "\n".join([*_HEAD, *_body(make_example().splitlines())]) + "\n"


_HEAD = [
    "# Settings: agent.toml",
    "",
    "One file for each device, read by `moamesh agent --config agent.toml`. Only `id` under `[device]` is needed. "
    "`MOAMESH_SECTION__KEY` in the environment counts over the file (`MOAMESH_AGENT__LAYERS=1`), and "
    '`--set section.key=value` over both. `"none"` stands for no value, where a key allows it. Relative paths count '
    "from the file's folder.",
    "",
    "The same as a file to copy: [agent.toml](../agent.toml).",
    "",
]


def _body(lines: list[str]) -> Iterator[str]:
    """A comment belongs to the section or key that follows it; after a blank line `##` begins a group of keys."""
    note, begun, in_table = "", False, False
    for before, line in itertools.pairwise(["", *lines]):
        if section := _SECTION.fullmatch(line):
            yield from ["", f"## {section['name']}", "", note]
            note, begun, in_table = "", True, False
        elif begun and line.startswith("## ") and not before:
            yield from ["", line.removeprefix("## ")]
            in_table = False
        elif begun and (key := _KEY.fullmatch(line)):
            if not in_table:
                yield from ["", "| key | default | meaning |", "|---|---|---|"]
            in_table = True
            text = key["text"] or note or _UNSAID[key["key"]]
            yield f"| `{key['key']}` | `{key['value'].strip()}` | {_cell(text)} |"
            note = ""
        elif match := _NOTE.fullmatch(line):
            note = match["text"]


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
