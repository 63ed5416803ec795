"""`moamesh pair`: the app on a phone, by a QR code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import options as opt
from edge_agent.cli.membership import MeshName

_WHERE = "Addresses"
_CODE = "Code"


def pair(
    name: Annotated[str, typer.Argument(help="Whose phone it is: 1 to 64 of a-z, 0-9 and -.")] = "me",
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "-d",
            metavar="ID",
            help="A device that this user may ask; repeatable. By default as before, or all.",
        ),
    ] = None,
    mesh: MeshName = None,
    remove: Annotated[bool, typer.Option("--remove", help="Revoke the secret; live sessions end.")] = False,
    app_url: Annotated[
        str | None,
        typer.Option(
            "--app-url", metavar="URL", rich_help_panel=_WHERE, help="Where the app is served, as phones reach it."
        ),
    ] = None,
    web_broker: Annotated[
        list[str] | None,
        typer.Option(
            "--web-broker",
            metavar="URL",
            rich_help_panel=_WHERE,
            help="Where the app reaches the broker: ws://host:port or wss://host:port; repeatable.",
        ),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", rich_help_panel=_CODE, help="Write the code as a picture.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", rich_help_panel=_CODE, help="Write the code as a picture.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Pair a phone or browser: shows a QR code with a new secret for this user. Scan it, and the app knows the mesh.

    For the local mesh if one is running, otherwise for the mesh made here. Repeating it for a name replaces the secret.
    """
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.pair.view import paired_object, show_paired, show_removed, write_pictures
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.meshes import find_mesh
    from edge_agent.operator.pairing import PairingOptions, pair_with, unpair

    options = PairingOptions(name, tuple(device or ()), app_url, tuple(web_broker or ()))
    found = find_mesh(mesh)
    if remove:
        problem = run_async(unpair(found, name))
        if json:
            print_json({"user": name, "removed": True, "problem": problem})
        else:
            show_removed(console(), name, problem)
        return
    paired = run_async(pair_with(found, options))
    written = write_pictures(paired, svg=svg, png=png)
    if json:
        print_json(paired_object(paired) | {"written": [str(path) for path in written]})
    else:
        show_paired(console(), paired, written)
