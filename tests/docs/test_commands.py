"""Every `moamesh` line in README and docs is one that the command takes: documents that grew stale are found here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperArgument

from scripts.docs.reference_cli import pages, render, root
from tests.docs.commands import DOCUMENTS, Shown, named, problem, shown_in


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_shown_is_taken_by_its_own_parser(document: Path) -> None:
    assert [f"{shown}: {found}" for shown in shown_in(document) if (found := problem(shown))] == []


def test_commands_are_found_at_all() -> None:
    found = [shown for document in DOCUMENTS for shown in shown_in(document)]
    assert len(found) > 100
    assert {"README.md", "TUTORIAL.md", "ASKING.md", "PROVISIONING.md"} <= {shown.document for shown in found}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ask hello --layer 2", "No such option"),
        ("ask hello there", "too many"),
        ("ask hello --layers", "requires an argument"),
        ("aks hello", "no command 'aks'"),
        ("user delete ana", "no command 'delete'"),
        ("device invite", "is missing"),
        ("run-prompts prompts.json", "output is missing"),
    ],
)
def test_a_stale_command_would_be_found(text: str, why: str) -> None:
    assert why.lower() in problem(Shown("test", text, whole=True)).lower()


@pytest.mark.parametrize(
    "text",
    [
        "ask hello --layers 2 | less",
        "ask 'a b' --json > out.json",
        "ask hello  # a comment",
        "up --devices 4 &",
        "ask ...",
    ],
)
def test_what_the_shell_does_with_a_line_is_not_the_commands_business(text: str) -> None:
    assert problem(Shown("test", text, whole=True)) == ""


def every_command(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not command.hidden:
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from every_command(f"{path} {name}", inner)


def test_the_reference_has_every_command_with_every_option_in_its_own_section() -> None:
    text = "\n".join(render(page) for page in pages())
    titles = re.split(r"^##+ (moamesh .*)$", text, flags=re.MULTILINE)
    sections = dict(zip(titles[1::2], titles[2::2], strict=True))
    every = [one for name, command in root().commands.items() for one in every_command(f"moamesh {name}", command)]
    assert sorted(sections) == sorted(path for path, _ in every)
    for path, command in every:
        for param in command.params:
            if param.name == "help" or getattr(param, "hidden", False):
                continue
            longest = max(param.opts, key=len)
            if isinstance(param, TyperArgument):
                longest = " ".join(param.get_usage_pieces(typer.Context(command)))
            shown = re.search(rf"^\| .*[` ]{re.escape(longest)}[` ].* \|$", sections[path], re.MULTILINE)
            assert shown, f"{path}: no row for {longest}"
