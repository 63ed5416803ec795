"""Looks once at what a command line and its environment hold, before any command runs.

Bytes that are no UTF-8 reach Python as lone surrogates: they cannot be printed, written as TOML or JSON, or sent. So
they are refused here, for every command and option, also where they name a file: a name that could be opened but not
said would come back from a log, a settings file or a message. Who has such a file gives it another name, or a link.

Control characters are refused for the same reason (they would move the cursor of whoever reads the error), line breaks
everywhere but in free text, and empty values, since what a shell makes of an unset variable is never meant.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_agent.core.errors import SettingsError

FREE_TEXT = frozenset({"prompt", "system"})
"""Parameters that take whatever a person wants to say: line breaks, nothing at all, and more than a name is long."""

CHARACTERS_MAX = 4096  # of anything but free text: as long as a path may be; names, URLs and settings are far shorter
SHOWN_CHARACTERS_MAX = 60  # of a refused value in its error
_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")  # where our own files are kept
_PREFIX = "MOAMESH_"


def check_entry(command: Any, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Checks the arguments of a (Typer) command, and the variables that it may read.

    Raises:
        SettingsError: one line that names the argument or variable, what is wrong with it, and the way out.
    """
    for name, value in environment.items():
        if name.upper().startswith(_PREFIX) or name in _VARIABLES:
            _check(f"environment {printable(name)}", f"={value}", "unset it or set it to another value", lines=False)
    for position, (parameter, said, value) in enumerate(_named(command, arguments), start=1):
        free = parameter in FREE_TEXT
        where = said or f"argument {position}"
        _check(where, value, "files may be given by a link with another name", lines=free)
        if not free and not value:
            raise SettingsError(f"{where} is empty: leave it out, or give it a value")
        if not free and len(value) > CHARACTERS_MAX:
            raise SettingsError(f"{where} has {len(value)} characters, at most {CHARACTERS_MAX} are taken")
    try:
        os.getcwd()
    except OSError:
        raise SettingsError("the current folder no longer exists: change to another (cd)") from None


def printable(text: str) -> str:
    """The text with what cannot be printed, and control characters but line breaks and tabs, as escapes."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cs") else _escape(letter)
        for letter in text
    )


def has_surrogates(text: str) -> bool:
    """Whether the text holds what no UTF-8 can say."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _check(where: str, value: str, way_out: str, *, lines: bool) -> None:
    for letter in value:
        if (category := unicodedata.category(letter)) == "Cs":
            raise SettingsError(f"{where} is not UTF-8 text: {_shown(value)}; {way_out}")
        if category == "Cc" and letter != "\t" and not (lines and letter in "\r\n"):
            what = "a line break" if letter in "\r\n" else "a control character"
            raise SettingsError(f"{where} holds {what}: {_shown(value)}; {way_out}")


def _shown(value: str) -> str:
    """The value in one line, short, and no secret: neither what a setting is set to, nor a URL's user and password."""
    if "@" in value:
        return "(not shown)"
    name, equals, _ = value.partition("=")
    text = f"{name}=..." if equals else value
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
    return "'" + printable(cut).replace("\n", "\\n").replace("\t", "\\t") + "'"


def _escape(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python brings a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _named(command: Any, arguments: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each argument as (the parameter that takes it, how to call it, its text); "" where the parser must decide."""
    takes: Any = None  # the option whose value comes next
    options, positions = _parameters(command)
    only_positions = False
    for text in arguments:
        if takes is not None:
            yield takes.name, f"the value of {takes.opts[0]}", text
            takes = None
        elif text == "--" and not only_positions:
            only_positions = True
        elif text.startswith("-") and text != "-" and not only_positions:
            name, equals, value = text.partition("=")
            option = options.get(name)
            if option is not None and equals:
                yield option.name, f"the value of {option.opts[0]}", value
            elif option is None:
                short = options.get(text[:2])  # -sTEXT
                yield short.name if short is not None else "", "", text
            elif not getattr(option, "is_flag", False):
                takes = option
        elif (inner := getattr(command, "commands", {}).get(text)) is not None:
            command = inner
            options, positions = _parameters(command)
        else:
            argument = positions[0] if positions else None
            if argument is not None and argument.nargs == 1:
                positions.pop(0)
            yield (argument.name, f"argument {argument.name.upper()}", text) if argument is not None else ("", "", text)


def _parameters(command: Any) -> tuple[dict[str, Any], list[Any]]:
    options = {
        name: parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    return options, [parameter for parameter in command.params if parameter.param_type_name == "argument"]
