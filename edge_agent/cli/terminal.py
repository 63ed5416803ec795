"""The two consoles of a command: stdout for what was asked for, stderr for everything said on the way."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

from rich.console import Console
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


def console(*, stderr: bool = False) -> Console:
    """A console for stdout or stderr. Where it is no terminal, there is no colour and no cursor movement."""
    return Console(stderr=stderr, theme=THEME, highlight=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout, in a line of its own."""
    json.dump(value, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def safe_text(text: str) -> str:
    """The text without control characters, which could move the cursor or worse: a model, or a peer, wrote it."""
    return "".join(character for character in text if character in "\n\t" or unicodedata.category(character) != "Cc")
