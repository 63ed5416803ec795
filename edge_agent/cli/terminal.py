"""The two consoles of a command: stdout for what was asked for, stderr for everything said on the way."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text
from rich.theme import Theme

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


class _PlainConsole(Console):
    """Text is text: nothing in it is taken for markup, wherever a message says `[[influx]]`, a path holds `[old]` or an
    address is `[fe80::1]`. What is to have a style is `styled`."""

    def status(self, status: RenderableType, **options: Any) -> Status:
        """As `Console.status`, whose text would be markup whatever the console says."""
        return super().status(Text(status) if isinstance(status, str) else status, **options)


def console(*, stderr: bool = False) -> Console:
    """A console for stdout or stderr. Where it is no terminal, there is no colour and no cursor movement."""
    return _PlainConsole(stderr=stderr, theme=THEME, highlight=False, markup=False, emoji=False)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Returns one text out of parts, each plain or with a style's name: `styled(("kitchen", "name"), " is in")`."""
    return Text.assemble(*parts)


def print_json(value: Any) -> None:
    """One JSON value on stdout, in a line of its own."""
    json.dump(value, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def safe_text(text: str) -> str:
    """The text without control characters, which could move the cursor or worse: a model, or a peer, wrote it."""
    return "".join(character for character in text if character in "\n\t" or unicodedata.category(character) != "Cc")
