"""Help as it was written: Typer renders every text of it as markup, and would leave out what stands in brackets."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

_TEXTS = ("help", "short_help", "epilog")


def show_help_as_text(command: Any) -> None:
    """Escapes the help of a command, its parameters and, for a group, of every command below it. To be called once.

    command: a Click command; Typer brings a Click of its own, whose types are not public.
    """
    for name in _TEXTS:
        if text := getattr(command, name, None):
            setattr(command, name, escape(text))
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            parameter.help = escape(text)
    for one in getattr(command, "commands", {}).values():
        show_help_as_text(one)
