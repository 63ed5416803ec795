"""What `moamesh pair` shows: the code, the link, and what to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edge_agent.cli.terminal import JsonObject, styled
from edge_agent.operator.pairing import Paired
from edge_agent.operator.pairing_link import Matrix, make_matrix, write_picture


def write_pictures(paired: Paired, *, svg: Path | None, png: Path | None) -> list[Path]:
    """Writes the code as the pictures asked for, for this user alone; returns them.

    Raises:
        SettingsError: there is no code for the link, or a file cannot be written; the new secret holds all the same.
    """
    wanted = [(path, kind) for path, kind in ((svg, "svg"), (png, "png")) if path is not None]
    for path, kind in wanted:
        write_picture(paired.link.text(), path, kind)
    return [path for path, _ in wanted]


def paired_object(paired: Paired) -> JsonObject:
    """Everything about a pairing, **the secret included**, for JSON."""
    link = paired.link
    return {
        "user": link.user,
        "login": link.login,
        "mesh": link.mesh,
        "secret": link.secret,
        "devices": None if link.devices is None else list(link.devices),
        "replaced": paired.replaced,
        "link": link.text(),
        "app_url": link.addresses.app,
        "web_brokers": list(link.addresses.brokers),
        "this_computer_only": link.addresses.here_only,
        "tls": link.addresses.secure,
        "needs_ca": link.addresses.needs_ca,
        "reach": link.addresses.reach(),
        "security": link.addresses.security(),
        "lasting": paired.lasting,
        "problem": paired.problem,
    }


def show_removed(out: Console, user: str, problem: str) -> None:
    """Says that a user is out, and what is still to be done."""
    out.print(f"{user}'s secret is no longer valid; their sessions end within a second", soft_wrap=True)
    if problem:
        out.print(problem, style="bad", soft_wrap=True, markup=False)


def show_paired(out: Console, paired: Paired, written: Sequence[Path]) -> None:
    """Shows the code in the terminal, unless it was written into files; below it the link and who can use it.

    Raises:
        SettingsError: there is no code for it.
    """
    link, text = paired.link, paired.link.text()
    for path in written:
        out.print(f"the code is in {path}, for you alone: whoever sees it has the secret", soft_wrap=True)
    if not written:
        matrix = make_matrix(text)
        if not show_code(out, matrix):
            needs = f"the code needs {len(matrix[0])} columns, this terminal has {out.width}: widen it, or --png FILE"
            out.print(needs, style="busy", soft_wrap=True)
    out.print(text, soft_wrap=True, markup=False)
    out.print()
    devices = "all" if link.devices is None else ", ".join(link.devices)
    if paired.as_before:
        devices += f" (as before; for others give --device, for all --remove {link.user} first)"
    for label, said in (
        ("user", f"{link.user} of mesh {link.mesh}"),
        ("devices", devices),
        ("reach", link.addresses.reach()),
        ("security", link.addresses.security()),
    ):
        out.print(styled((f"{label:<9}", "label"), f" {said}"), soft_wrap=True)
    _show_next(out, paired)


def show_code(console: Console, matrix: Matrix) -> bool:
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


def _show_next(out: Console, paired: Paired) -> None:
    user = paired.link.user
    if paired.replaced:
        out.print(
            f"{user}'s earlier secret is no longer valid: pair their other phones and browsers again", style="busy"
        )
    if paired.problem:
        out.print(paired.problem, style="bad", soft_wrap=True, markup=False)
    if paired.link.addresses.here_only:
        out.print("for a phone: moamesh up --lan", style="quiet")
    if not paired.lasting:
        out.print("it is valid until this local mesh stops", style="quiet", soft_wrap=True)
    out.print(f"shown only once; to revoke it: moamesh pair {user} --remove", style="quiet", soft_wrap=True)


def _half_block(up: bool, down: bool) -> str:
    return " ▄▀█"[2 * up + down]
