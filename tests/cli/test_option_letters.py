"""A short option letter means the same long option in every command, and a long option has its letter everywhere."""

from __future__ import annotations

import pytest

from tests.cli.test_markup import COMMANDS

LETTERS = {
    "-c": "--config",
    "-d": "--device",
    "-j": "--jobs",
    "-k": "--fanout",
    "-l": "--layers",
    "-n": "--devices",
    "-o": "--output",
    "-p": "--part",
    "-r": "--join",
    "-s": "--system",
    "-t": "--temperature",
    "-y": "--yes",
}


def options_of(path: tuple[str, ...]) -> list[list[str]]:
    return [parameter.opts for parameter in COMMANDS[path].params if parameter.opts[0].startswith("-")]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "moamesh")
def test_a_letter_means_one_option_and_an_option_keeps_its_letter(path: tuple[str, ...]) -> None:
    for names in options_of(path):
        short = [name for name in names if not name.startswith("--")]
        long = [name for name in names if name.startswith("--")]
        assert short == [letter for letter, option in LETTERS.items() if option in long]


def test_no_letter_of_the_table_is_unused() -> None:
    used = {name for path in COMMANDS for names in options_of(path) for name in names}
    assert used >= set(LETTERS) | set(LETTERS.values())
