"""The pairing code in a terminal, read back by a reader of another maker (ZXing)."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from rich.console import Console

from edge_agent.cli.pair.view import half_blocks, show_code
from edge_agent.operator.pairing_link import Addresses, Matrix, PairingLink, make_matrix

ADDRESSES = Addresses("http://192.168.1.5:8080", ("ws://192.168.1.5:9001",))
LINK = PairingLink(ADDRESSES, "home", "alice", "s" * 32, ("kitchen",))


def read_code(matrix: Matrix, scale: int = 4) -> list[str]:
    """What a reader sees in these modules."""
    rows = [bytes(0 if module else 255 for module in row for _ in range(scale)) for row in matrix for _ in range(scale)]
    picture = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
    return [found.text for found in zxingcpp.read_barcodes(picture)]


def modules_of(lines: list[str], *, inverted: bool) -> Matrix:
    """The modules that a terminal shows."""
    return tuple(
        tuple((character in halves) != inverted for character in line) for line in lines for halves in ("▀█", "▄█")
    )


@pytest.mark.parametrize("inverted", [False, True])
def test_the_code_in_a_terminal_is_read_as_the_link(inverted: bool) -> None:
    lines = half_blocks(make_matrix(LINK.text()), inverted=inverted)
    assert read_code(modules_of(lines, inverted=inverted)) == [LINK.text()]


def test_a_coloured_terminal_gets_black_on_white_whatever_its_own_colours() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system="truecolor", width=120)
    assert show_code(console, make_matrix(LINK.text()))
    lines = output.getvalue().splitlines()
    assert all(line.startswith("\x1b[38;2;0;0;0;48;2;255;255;255m") for line in lines)
    bare = [line.split("m", 1)[1].rsplit("\x1b", 1)[0] for line in lines]
    assert read_code(modules_of(bare, inverted=False)) == [LINK.text()]


def test_without_colours_the_light_modules_are_drawn() -> None:
    output = io.StringIO()
    assert show_code(Console(file=output, width=10), make_matrix(LINK.text())), "into a file any width will do"
    assert read_code(modules_of(output.getvalue().splitlines(), inverted=True)) == [LINK.text()]


def test_a_terminal_that_is_too_narrow_is_told_and_not_filled_with_rubbish() -> None:
    output = io.StringIO()
    assert not show_code(Console(file=output, force_terminal=True, width=40), make_matrix(LINK.text()))
    assert output.getvalue() == ""
