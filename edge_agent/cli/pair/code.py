"""QR codes: in a terminal as half blocks, and as pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from edge_agent.core.errors import SettingsError
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically

if TYPE_CHECKING:
    import segno

QUIET_ZONE = 4  # modules of white around the code, as the standard (ISO/IEC 18004) wants
PICTURE_SCALE = 8  # pixels for each module: a code of 60 modules fills a phone's width

Matrix = tuple[tuple[bool, ...], ...]
"""Rows of modules, `True` is dark, the quiet zone included."""


def make_matrix(text: str) -> Matrix:
    """Returns the code of `text`.

    Raises:
        SettingsError: it is too long for one, or segno is not installed.
    """
    return tuple(tuple(module > 0 for module in row) for row in _make(text).matrix_iter(border=QUIET_ZONE))


def write_picture(text: str, path: Path, kind: str) -> None:
    """Writes the code as "png" or "svg", readable by its owner alone: whoever sees it has the secret.

    Raises:
        SettingsError: as `make_matrix`, or the file cannot be written.
    """
    content = io.BytesIO()
    _make(text).save(content, kind=kind, scale=PICTURE_SCALE, border=QUIET_ZONE, dark="black", light="white")
    try:
        write_atomically(path, content.getvalue(), PRIVATE)
    except ProvisioningError as error:
        raise SettingsError(str(error)) from None


def show(console: Console, matrix: Matrix) -> bool:
    """Prints the code, two rows of modules in a line. Returns whether the terminal is wide enough for it.

    Colours are set, black on white, so that a dark terminal shows what a light one does. Without colours the light
    modules are drawn, as for a dark background.
    """
    if console.is_terminal and console.width < len(matrix[0]):
        return False
    coloured = console.color_system is not None and not console.no_color
    for line in half_blocks(matrix, inverted=not coloured):
        console.print(Text(line, style="#000000 on #ffffff" if coloured else ""), soft_wrap=True)
    return True


def half_blocks(matrix: Matrix, *, inverted: bool = False) -> list[str]:
    """Returns the lines; a drawn half is a dark module, or a light one if `inverted`."""
    light = tuple(False for _ in matrix[0])  # below an odd number of rows
    pairs = zip(matrix[::2], (*matrix[1::2], light), strict=False)
    return [
        "".join(_half_block(up != inverted, down != inverted) for up, down in zip(*pair, strict=True)) for pair in pairs
    ]


def _half_block(up: bool, down: bool) -> str:
    return " ▄▀█"[2 * up + down]


def _make(text: str) -> segno.QRCode:
    try:
        import segno
        from segno import DataOverflowError
    except ImportError:
        raise SettingsError("QR codes need segno: pip install 'moamesh[pair]' (--json works without)") from None
    try:
        return segno.make(text, micro=False, error="m")
    except DataOverflowError:
        raise SettingsError("the link is too long for a QR code: give fewer --device or --web-broker") from None
