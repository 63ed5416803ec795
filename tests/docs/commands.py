"""The `moamesh` lines of a document, taken apart by the parser that takes them apart for a user."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from scripts.docs.reference_cli import root

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

_BLOCK = re.compile(r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(moamesh [a-z][^`]*)`")
_CONTINUED = re.compile(r"\\\n\s*")
_START = re.compile(r"(?:^(?:\$ )?|[|;&]\s*|\bdo\s+|\$\()(?:sudo )?(?:\.venv/bin/|\$\(BIN\)/)?moamesh\s+(?P<rest>.*)")
_SHELLS = ("", "sh", "bash", "shell", "console")
_ENDS = ("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "#")
_PLACEHOLDERS = ("...", "…")  # what a reader fills in; then nothing can be said of what is missing
_OPTIONAL = re.compile(r"\[(-[^\]]*)\]")  # `[--json]`, as manuals write it


@dataclass(frozen=True, slots=True)
class Shown:
    """A command line that a document shows."""

    document: str
    text: str
    whole: bool
    """Whether it is shown to be run; in running text a command is often named without what it needs."""

    def __str__(self) -> str:
        return f"{self.document}: {self.text[:100]}"


def named(document: Path) -> str:
    """Returns a document's path in the repository."""
    return document.relative_to(ROOT).as_posix()


def shown_in(path: Path) -> Iterator[Shown]:
    """The command lines in a document's code blocks and in its text."""
    text = path.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        if block["language"] not in _SHELLS:
            continue
        for line in _CONTINUED.sub(" ", block["code"]).splitlines():
            if match := _START.search(line.strip()):
                yield Shown(path.name, match["rest"], whole=True)
    for match in _INLINE.finditer(_BLOCK.sub("", text)):
        yield Shown(path.name, " ".join(match[1].split()).removeprefix("moamesh "), whole=False)


def problem(shown: Shown) -> str:
    """What the command's own parser has against it; "" if nothing."""
    words = _words(_OPTIONAL.sub(r"\1", shown.text))
    whole = shown.whole and not set(words) & set(_PLACEHOLDERS)
    words = [word for word in words if word not in _PLACEHOLDERS]
    command: Any = root()
    names = ["moamesh"]
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        alternatives = words[0].split("|")  # `moamesh user add|remove`, in running text
        missing = [name for name in alternatives if name not in command.commands]
        if missing:
            return f"{' '.join(names)} has no command {missing[0]!r}"
        names.append(alternatives[0])
        command = command.commands[alternatives[0]]
        words = words[1:]
    return _against(command, words, whole)


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word in _ENDS or set(word) <= set("|&;<>"):
            break
        words.append(word)
    return words


def _against(command: Any, words: list[str], whole: bool) -> str:
    context = typer.Context(command)
    if "--help" in words:
        return ""
    try:
        values, rest, _ = command.make_parser(context).parse_args(args=list(words))
    except Exception as error:  # the parser's own errors: no such option, a value is missing
        said = str(getattr(error, "message", error))
        return "" if not whole and "requires an argument" in said else said  # `--influx` in running text
    if rest and not isinstance(command, TyperGroup):
        return f"one argument too many: {rest[0]!r}"
    if not whole:
        return ""
    for one in command.params:
        absent = values.get(one.name) in (None, (), []) or "UNSET" in repr(values.get(one.name))
        if isinstance(one, TyperArgument | TyperOption) and one.required and absent:
            return f"{one.name} is missing"
        if problem := _against_choice(one, values.get(one.name)):
            return problem
    return ""


def _against_choice(one: Any, value: Any) -> str:
    choices = [str(getattr(choice, "value", choice)) for choice in getattr(one.type_descriptor, "choices", None) or ()]
    given = [value] if isinstance(value, str) else []
    wrong = [word for word in given if choices and word not in choices]
    return f"{one.name} is one of {', '.join(choices)}, not {wrong[0]!r}" if wrong else ""
