"""The command line as Markdown, out of the very commands: one page for each panel of `moamesh --help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import typer
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from edge_agent.cli.main import app

PROGRAM = "moamesh"
Command: TypeAlias = TyperCommand | TyperGroup
# As typer words it in a help text.
_RANGE = re.compile(r"(?:(?P<low>[\d.]+)<=x|x>=(?P<least>[\d.]+))(?:<=(?P<high>[\d.]+))?")


@dataclass(frozen=True, slots=True)
class Page:
    """The commands of one panel."""

    panel: str
    commands: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """What the page's file is called."""
        return re.sub(r"[^a-z]+", "-", self.panel.lower()).strip("-")


@cache  # putting all commands together takes a third of a second
def root() -> TyperGroup:
    """Returns the `moamesh` command."""
    command = typer.main.get_command(app)
    if not isinstance(command, TyperGroup):
        raise TypeError("moamesh has no commands")
    return command


def pages() -> list[Page]:
    """Returns the panels in the order of `moamesh --help`."""
    found: dict[str, Page] = {}
    for name, command in root().commands.items():
        if command.hidden:
            continue
        panel = str(getattr(command, "rich_help_panel", None) or "Other")
        found.setdefault(panel, Page(panel)).commands.append((name, command))
    return list(found.values())


def render(page: Page) -> str:
    """Returns a page."""
    parts = [f"# {page.panel}: commands", ""]
    for name, command in page.commands:
        parts += _command(f"{PROGRAM} {name}", command, level=2)
    return "\n".join(parts) + "\n"


def overview() -> str:
    """Returns a list of every command with its first line, for the page that leads to the others."""
    lines = [
        "# Command line",
        "",
        "`moamesh COMMAND --help` says the same in the terminal. Errors are one line on stderr and exit status 2; "
        "`--json` is for programs. `moamesh --install-completion` teaches your shell the commands.",
        "",
    ]
    for page in pages():
        lines += [f"## {page.panel}", ""]
        for name, command in page.commands:
            anchor = f"{PROGRAM}-{name}"
            lines.append(f"- [`{PROGRAM} {name}`]({page.slug}.md#{anchor}): {_first_line(command)}")
        lines.append("")
    return "\n".join(lines)


def _command(path: str, command: Any, level: int) -> Iterator[str]:
    inner = command.commands if isinstance(command, TyperGroup) else {}
    yield f"{'#' * level} {path}"
    yield ""
    yield _help(command)
    yield ""
    own = list(_options(command))
    if own or not inner:  # a group without options of its own does nothing by itself
        yield from ("```", f"{path} {_usage(command)}".rstrip(), "```", "")
        yield from _arguments(command)
        yield from own
    for name, one in inner.items():
        if not one.hidden:
            yield from _command(f"{path} {name}", one, level + 1)


def _usage(command: Command) -> str:
    context = typer.Context(command)
    return " ".join(command.collect_usage_pieces(context))


def _arguments(command: Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    if not arguments:
        return
    context = typer.Context(command)
    yield "| argument | meaning |"
    yield "|---|---|"
    for one in arguments:
        yield f"| `{' '.join(one.get_usage_pieces(context))}` | {_cell(one.help or '')} |"
    yield ""


def _options(command: Command) -> Iterator[str]:
    shown = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden and one.name != "help"]
    if not shown:
        return
    yield "| option | default | meaning |"
    yield "|---|---|---|"
    for one in shown:
        required = " **Required.**" if one.required else ""
        yield f"| {_names(one, command)} | {_default(one)} | {_cell(one.help or '')}{required} |"
    yield ""


def _names(option: TyperOption, command: Command) -> str:
    record = option.get_help_record(typer.Context(command))
    names, said = record or (", ".join(option.opts), "")
    if allowed := _RANGE.search(said):
        names = names.replace("<int range>", "N").replace("<float range>", "X")
        low, high = allowed["low"] or allowed["least"], allowed["high"]
        bounds = f"{low} to {high}" if high else f"{low} or more"
        return f"`{names}` ({bounds})"
    return " / ".join(f"`{part.strip()}`" for part in names.split(" / "))


def _default(option: TyperOption) -> str:
    value = option.default
    if isinstance(option.show_default, str):
        return _cell(option.show_default)
    if option.required or value is None or callable(value) or str(value) in ("", "()", "[]", "Sentinel.UNSET"):
        return ""
    if isinstance(value, bool):
        pair = option.opts[0] if value else (option.secondary_opts or [""])[0]
        return f"`{pair}`" if option.secondary_opts else ""
    return f"`{value}`"


def _help(command: Command) -> str:
    text = _plain((command.help or "").split("\f")[0])
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _first_line(command: Command) -> str:
    return _help(command).split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(_plain(text).split()).replace("|", r"\|")


def _plain(text: str) -> str:
    """The text as a terminal shows it: the commands escape what Typer would take for markup."""
    return Text.from_markup(text, emoji=False).plain
