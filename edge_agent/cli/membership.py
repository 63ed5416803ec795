"""What the commands about a mesh and its members share: the options that say which, and its passphrase."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.mesh_options import MESH_VARIABLE
from provisioning.errors import ProvisioningError

if TYPE_CHECKING:  # they bring cryptography along, which every command would otherwise load
    from provisioning.authority import MeshAuthority
    from provisioning.mesh import MeshFolder

MeshName = Annotated[
    str | None,
    typer.Option(
        "--mesh", metavar="NAME", envvar=MESH_VARIABLE, help="Which mesh; not needed where there is only one."
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="The first line is the passphrase of the mesh's CA key, if it has one.",
    ),
]


def open_authority(mesh: MeshFolder, passphrase_file: Path | None) -> MeshAuthority:
    """Opens the mesh's CA; asks for its passphrase at a terminal if it has one that was not given.

    Raises:
        ProvisioningError: the passphrase is wrong or missing, or a file is damaged.
    """
    return mesh.authority(ca_passphrase(mesh, passphrase_file))


def ca_passphrase(mesh: MeshFolder, passphrase_file: Path | None) -> str | None:
    """Returns the passphrase of the mesh's CA keys, asked for at a terminal if it was not given; `None` without one.

    Raises:
        ProvisioningError: it is missing.
    """
    passphrase = read_passphrase(passphrase_file)
    if not mesh.locked:
        return None
    if passphrase is None and sys.stdin.isatty():
        passphrase = getpass.getpass(f"Passphrase of mesh {mesh.name}: ")
    if passphrase is None:
        raise ProvisioningError(f"the CA key of mesh {mesh.name} is encrypted: give --passphrase-file")
    return passphrase


def say_room(mesh: MeshFolder) -> None:
    """Warns on stderr when the revocation list takes from its reserve."""
    from edge_agent.cli.exits import error_line

    if mesh.revocation_room() < 0:
        error_line(
            f"the revocation list of mesh {mesh.name} is nearly full: start a new one with a new CA "
            "(moamesh mesh rotate, and --finish once the devices have renewed)"
        )


def read_passphrase(file: Path | None) -> str | None:
    """Returns the first line of a file; `None` without one.

    Raises:
        SettingsError: it can't be read, is empty or is no passphrase file.
    """
    from edge_agent.config.secret_file import read_secret

    return None if file is None else read_secret(file, "--passphrase-file")
