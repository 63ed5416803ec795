"""Writes the generated parts of docs/PROTOCOL.md from the code: state tables, topics, messages.

python scripts/protocol_doc.py            writes
python scripts/protocol_doc.py --check    exits with 1 if the page is not what the code says
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from edge_agent.core import messages, states
from edge_agent.wire import topics
from edge_agent.wire.codec import TYPE_NAMES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "PROTOCOL.md"


def state_table(table: Mapping[Any, frozenset[Any]]) -> str:
    """Returns a transition table as Markdown, in the order of the enum."""
    rows = ["| state | may be followed by |", "|---|---|"]
    for state, following in table.items():
        names = ", ".join(f"`{name}`" for name in type(state) if name in following)
        rows.append(f"| `{state}` | {names or 'nothing: it has ended'} |")
    return "\n".join(rows)


def topic_table() -> str:
    """Returns the topics as Markdown."""
    rows = [
        f"| topic under `{topics.ROOT}/<mesh>/devices/<device>/` | written by | read by | QoS | retained | carries |",
        "|---|---|---|---|---|---|",
    ]
    for row in topics.TABLE.values():
        name = "/".join((row.channel, *(f"<{level.name.lower()}>" for level in row.levels)))
        types = ", ".join(f"`{TYPE_NAMES[kind]}`" for kind in row.types) or "provisioning's own messages"
        writers, readers = ", ".join(row.writers), ", ".join(row.readers)
        retained = "yes" if row.retain else "no"
        rows.append(f"| `{name}` | {writers} | {readers} | {row.qos} | {retained} | {types} |")
    return "\n".join(rows)


def message_list() -> str:
    """Returns every message with its fields, then the classes used in them, as Markdown."""
    inner = [
        kind
        for kind in vars(messages).values()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind not in TYPE_NAMES
    ]
    parts = [_message(kind, f"`{name}`") for kind, name in TYPE_NAMES.items()]
    parts += [_message(kind, kind.__name__) for kind in inner]
    return "\n\n".join(parts)


def _message(kind: type, title: str) -> str:
    lines = [f"**{title}**: {(kind.__doc__ or '').strip().splitlines()[0]}", "", "| field | type |", "|---|---|"]
    hints = get_type_hints(kind)
    lines += [f"| `{field.name}` | {_type_text(hints[field.name])} |" for field in dataclasses.fields(kind)]
    return "\n".join(lines)


def _type_text(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(f'"{value}"' for value in hint)
    text = hint.__name__ if isinstance(hint, type) and not getattr(hint, "__args__", None) else str(hint)
    text = re.sub(r"edge_agent\.core\.\w+\.", "", text).replace("NoneType", "None")
    return "`" + text.replace("|", "or") + "`"


PARTS = {
    "session states": lambda: state_table(states.SESSION_TRANSITIONS),
    "request states": lambda: state_table(states.REQUEST_TRANSITIONS),
    "item states": lambda: state_table(states.ITEM_TRANSITIONS),
    "topics": topic_table,
    "messages": message_list,
}


def render(page: str) -> str:
    """Returns the page with every generated part replaced.

    Raises:
        ValueError: a part has no place on the page.
    """
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} (generated) -->", f"<!-- end {name} -->"
        if begin not in page or end not in page:
            raise ValueError(f"{PAGE} has no place for {name!r}")
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return page


def main() -> int:
    """Writes or checks the page; returns the exit status."""
    old = PAGE.read_text(encoding="utf-8")
    new = render(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
