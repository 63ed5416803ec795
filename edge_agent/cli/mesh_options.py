"""Options of every command that speaks to a mesh: which one, and how to get in. Declared once, taken as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import typer

if TYPE_CHECKING:
    from edge_agent.cli.mesh_address import MeshAddress
    from edge_agent.client import Access

BROKER_VARIABLE = "MOAMESH_BROKER__URLS"
MESH_VARIABLE = "MOAMESH_DEVICE__MESH"
"""Where a user may keep --broker and --mesh: the same variables that set them for a device."""

_PANEL = "Mesh"


def _option(name: str, metavar: str, variable: str, help_text: str) -> Any:
    return typer.Option(name, metavar=metavar, envvar=variable, rich_help_panel=_PANEL, help=help_text)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOptions:
    """What a command line says of a mesh; `None` is what it leaves open."""

    broker: Annotated[
        str | None,
        _option(
            *("--broker", "URL", BROKER_VARIABLE),
            "mqtt://host:port or mqtts://host:port, nodes of one cluster with commas between; by default the local "
            "mesh that `moamesh up` runs.",
        ),
    ] = None
    mesh: Annotated[str | None, _option("--mesh", "NAME", MESH_VARIABLE, "Name of the mesh.")] = None
    ca_file: Annotated[
        Path | None,
        _option(
            *("--ca-file", "FILE", "MOAMESH_BROKER__CA_FILE"),
            "mqtts: the mesh's authority (PEM); by default those that the system trusts.",
        ),
    ] = None
    crl_file: Annotated[
        Path | None,
        _option(
            *("--crl-file", "FILE", "MOAMESH_BROKER__CRL_FILE"),
            "mqtts: the mesh's revocation list (PEM), so that a broker with a stolen key is refused; read again for "
            "each connection.",
        ),
    ] = None
    cert_file: Annotated[
        Path | None,
        _option(
            *("--cert-file", "FILE", "MOAMESH_BROKER__CERT_FILE"),
            "mqtts: your own certificate (PEM), with --key-file.",
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        _option("--key-file", "FILE", "MOAMESH_BROKER__KEY_FILE", "mqtts: the certificate's private key (PEM)."),
    ] = None
    username: Annotated[
        str | None,
        _option(
            *("--username", "LOGIN", "MOAMESH_BROKER__USERNAME"),
            "How to log in, as `moamesh user add` shows it (user.NAME).",
        ),
    ] = None
    password_file: Annotated[
        Path | None,
        _option(
            "--password-file", "FILE", "MOAMESH_BROKER__PASSWORD_FILE", "A file with the password in its first line."
        ),
    ] = None
    broker_of: Annotated[
        str | None,
        _option(
            *("--broker-of", "DEVICE", "MOAMESH_BROKER_OF"),
            "mqtts: the broker is this device's own, whose certificate names the device, not the address.",
        ),
    ] = None

    def access(self) -> Access:
        """Returns what is said about getting in.

        Raises:
            SettingsError: options do not fit together, or a file is not there or damaged.
        """
        from edge_agent.cli.mesh_address import make_access

        return make_access(self)

    def find(self) -> MeshAddress:
        """Returns the mesh that is meant, by default the local one that is running.

        Raises:
            SettingsError: as `access`, or no broker was named and no local mesh is running.
        """
        from edge_agent.cli.mesh_address import find_mesh

        return find_mesh(self.broker, self.mesh, self.access())

    def again(self) -> tuple[str, ...]:
        """Returns what was given as words of another command line to the same mesh, wherever it was given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        words = ((f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None)
        return tuple(word for pair in words for word in pair)
