"""The two consoles of a command: stdout for what was asked for, stderr for everything said on the way."""

from __future__ import annotations

import json
import logging
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

JsonObject = dict[str, Any]
"""What a command hands out for programs. It stands here since most commands have one, and need not load the client."""

THEME = Theme(
    {
        "good": "green",
        "busy": "yellow",
        "bad": "bold red",
        "quiet": "bright_black",
        "name": "bold cyan",
        "label": "bold",
    }
)


_STRANGE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What moves a cursor, colours, renames windows or turns writing around: control characters but tab and line break, and
the marks of direction."""


class _PlainConsole(Console):
    """Text is text: nothing in it is taken for markup, wherever a message says `[[influx]]`, a path holds `[old]` or an
    address is `[fe80::1]`, nor for an order to the terminal: a device, a peer or a model may have written it. What is
    to have a style is `styled`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`; strange characters of the text are shown as U+FFFD. Control codes are rich's own."""
        for segment in super().render(renderable, options):
            if segment.control is None and _STRANGE.search(segment.text):
                yield Segment(_STRANGE.sub("\ufffd", segment.text), segment.style)
            else:
                yield segment

    def status(self, status: RenderableType, **options: Any) -> Status:
        """As `Console.status`, whose text would be markup whatever the console says."""
        return super().status(Text(status) if isinstance(status, str) else status, **options)


def console(*, stderr: bool = False) -> Console:
    """A console for stdout or stderr. Where it is no terminal, there is no colour and no cursor movement."""
    return _PlainConsole(stderr=stderr, theme=THEME, highlight=False, markup=False, emoji=False)


def plain_table(*columns: str) -> Table:
    """A table with a line below its heading and nothing else; long cells are folded."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="label")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def styled(*parts: str | tuple[str, str]) -> Text:
    """Returns one text out of parts, each plain or with a style's name: `styled(("kitchen", "name"), " is in")`."""
    return Text.assemble(*parts)


def print_json(value: Any) -> None:
    """One JSON value on stdout, in a line of its own."""
    text = json.dumps(value, ensure_ascii=False)
    # JSON leaves the upper control characters as they are, and terminals take them for orders
    sys.stdout.write(_STRANGE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def log_to_stderr() -> None:
    """From now on what happens goes to stderr, a line each: for commands that run until they are told to stop."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def safe_text(text: str) -> str:
    """The text without control characters, which could move the cursor or worse: a model, or a peer, wrote it."""
    return "".join(character for character in text if character in "\n\t" or unicodedata.category(character) != "Cc")
