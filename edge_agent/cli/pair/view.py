"""What `moamesh pair` shows: the code, the link, and what to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from edge_agent.cli.pair import code
from edge_agent.cli.pair.pairing import Paired
from edge_agent.cli.terminal import styled


def write_pictures(paired: Paired, *, svg: Path | None, png: Path | None) -> list[Path]:
    """Writes the code as the pictures asked for, for this user alone; returns them.

    Raises:
        SettingsError: there is no code for the link, or a file cannot be written; the new secret holds all the same.
    """
    wanted = [(path, kind) for path, kind in ((svg, "svg"), (png, "png")) if path is not None]
    for path, kind in wanted:
        code.write_picture(paired.link.text(), path, kind)
    return [path for path, _ in wanted]


def show_removed(out: Console, user: str, problem: str) -> None:
    """Says that a user is out, and what is still to be done."""
    out.print(f"{user}'s secret holds no more; their sessions end within a second", soft_wrap=True)
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
        matrix = code.make_matrix(text)
        if not code.show(out, matrix):
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


def _show_next(out: Console, paired: Paired) -> None:
    user = paired.link.user
    if paired.replaced:
        out.print(f"{user}'s earlier secret holds no more: pair their other phones and browsers again", style="busy")
    if paired.problem:
        out.print(paired.problem, style="bad", soft_wrap=True, markup=False)
    if paired.link.addresses.here_only:
        out.print("for a phone: moamesh up --lan", style="quiet")
    if not paired.lasting:
        out.print("it holds until this local mesh stops", style="quiet", soft_wrap=True)
    out.print(f"shown this once; take it back: moamesh pair {user} --remove", style="quiet", soft_wrap=True)
