"""`moamesh top`: the mesh in a terminal."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from edge_agent.cli.groups import takes_groups
from edge_agent.cli.mesh_options import MeshOptions


class ThemeName(StrEnum):
    """For which background the colours are made."""

    AUTO = "auto"
    DARK = "dark"
    LIGHT = "light"


@takes_groups
def top(
    theme: Annotated[
        ThemeName, typer.Option("--theme", help="Colours for a dark or a light terminal; auto asks the terminal.")
    ] = ThemeName.AUTO,
    *,
    where: MeshOptions,
) -> None:
    """Watch the mesh full-screen: queues, load and margin of every device, with graphs and alerts.

    It needs a user's access and nothing else. `?` shows the keys. For scripts there is `moamesh status --json`.
    """
    import sys

    from edge_agent.cli.exits import run_async
    from edge_agent.core.errors import SettingsError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("moamesh top needs a terminal; in a pipe: moamesh status --json")
    try:
        from edge_agent.cli.watch.top.run import show_top
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("textual"):
            raise
        raise SettingsError("moamesh top needs Textual: pip install 'moamesh[top]'") from None
    run_async(show_top(where.find(), theme.value))
