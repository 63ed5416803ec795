"""What a phone must trust, and what a web page shows it: a mesh's web CA and its servers' certificates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge_agent.operator.broker.setup import server_hosts
from provisioning.authority import MeshAuthority
from provisioning.files import PRIVATE, PUBLIC, make_folder, read_if_there, write_atomically
from provisioning.mesh import MeshFolder
from provisioning.web_authority import CA_FILE


@final
@dataclass(frozen=True, slots=True)
class WebServer:
    """A server's certificate and key, and the host names and addresses that it is for."""

    hosts: tuple[str, ...]
    certificate: Path
    key: Path


def web_ca(mesh: MeshFolder, authority: Callable[[], MeshAuthority]) -> bytes:
    """Returns the certificate of the mesh's web CA, as PEM; the first call makes the CA, and only it asks `authority`.

    Raises:
        ProvisioningError: the mesh's files can't be used.
    """
    there = read_if_there(mesh.folder / CA_FILE)
    return mesh.web_authority(authority(), server_hosts(mesh, ())).pem if there is None else there


def issue_web_server(
    mesh: MeshFolder, authority: Callable[[], MeshAuthority], names: Sequence[str], into: Path, *, new_ca: bool = False
) -> WebServer:
    """Makes a certificate for HTTPS, `server.pem` and `server.key` in a folder that is made if need be.

    Args:
        names: host names and addresses of the server, beside this machine's and those of the mesh's brokers.
        new_ca: make another web CA, for these hosts; phones must be told to trust it.

    Raises:
        SettingsError: a name is none.
        ProvisioningError: the web CA is not for these hosts, the mesh's files can't be used, or the folder can't be
            written.
    """
    hosts = server_hosts(mesh, names)
    identity = mesh.web_authority(authority(), hosts, anew=new_ca).issue(hosts)
    if not into.exists():
        make_folder(into)
    made = WebServer(tuple(hosts), into / "server.pem", into / "server.key")
    write_atomically(made.key, identity.key_pem, PRIVATE)
    write_atomically(made.certificate, identity.certificate_pem, PUBLIC)
    return made
