"""Makes meshes, tells what is in them, and gives them new certificate authorities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from provisioning.authority import MeshAuthority
from provisioning.errors import ProvisioningError
from provisioning.mesh import DEFAULT_BROKER, MeshFolder, MeshSettings
from provisioning.mesh_names import mesh_names, meshes_folder
from provisioning.mqtt_link import check_url, claim_url
from provisioning.records import CertificateKind, CertificateRow, DeviceRow

NAMED_MAX = 8  # of the devices that a rotation waits for, in its error


@final
@dataclass(frozen=True, slots=True)
class MeshOverview:
    """A mesh, its devices, and how many users it has."""

    mesh: MeshFolder
    devices: tuple[DeviceRow, ...]
    users: int


def create_mesh(
    name: str, brokers: Sequence[str] = (), claim_broker: str | None = None, *, passphrase: str | None = None
) -> MeshFolder:
    """Makes a mesh in this user's folder: its authority, the operator's identity, its settings.

    Args:
        name: 1 to 64 of a-z, 0-9 and -; part of every topic.
        brokers: where devices connect, mqtts://host:port; several for a cluster, none for this host.
        claim_broker: where new devices claim; `None` is the first broker's host, port 8884.
        passphrase: of the authority's key, if it is to have one.

    Raises:
        ProvisioningError: there is such a mesh, a name or a URL is none, or a URL speaks no TLS.
    """
    brokers = tuple(brokers) or (DEFAULT_BROKER,)
    for url in (*brokers, *([claim_broker] if claim_broker else [])):
        if not check_url(url)[2]:
            raise ProvisioningError(
                f"{url}: a mesh's brokers must use TLS (mqtts://), or secrets could be read on the way"
            )
    settings = MeshSettings(name, brokers, claim_broker or claim_url(brokers[0]))
    return MeshFolder.create(meshes_folder() / name, settings, passphrase=passphrase)


def overview(mesh: MeshFolder) -> MeshOverview:
    """Returns who is in a mesh.

    Raises:
        ProvisioningError: the mesh's files can't be used.
    """
    with mesh.inventory() as inventory:
        return MeshOverview(mesh, tuple(inventory.devices()), len(inventory.users()))


def all_meshes() -> list[MeshOverview]:
    """Returns the meshes that this machine's user runs.

    Raises:
        ProvisioningError: the files of one can't be used.
    """
    folder = meshes_folder()
    return [overview(MeshFolder.open(folder / name)) for name in mesh_names(folder)]


def all_certificates(mesh: MeshFolder, kind: CertificateKind | None = None) -> list[CertificateRow]:
    """Returns every certificate that the mesh ever gave, or only those of one kind.

    Raises:
        ProvisioningError: the mesh's files can't be used.
    """
    with mesh.inventory() as inventory:
        mesh.enter_known(inventory)
        return inventory.ledger(kind)


def rotate_mesh(mesh: MeshFolder, authority: MeshAuthority, *, finish: bool = False, force: bool = False) -> list[str]:
    """Gives a mesh a new authority beside the old one, or with `finish` drops the old one: then its certificates are
    refused, and brokers need new ones.

    Returns the names of the devices that have yet to renew, which they do while `mesh_service.serve_mesh` runs.

    Args:
        force: finish, too, although that locks devices out which have not renewed.

    Raises:
        ProvisioningError: devices have not renewed and it is not forced, or the mesh's files can't be used.
    """
    with mesh.inventory() as inventory:
        if finish:
            waiting = mesh.waiting_for_rotation(inventory)
            if waiting and not force:
                names = ", ".join(waiting[:NAMED_MAX]) + (", ..." if len(waiting) > NAMED_MAX else "")
                raise ProvisioningError(
                    f"{len(waiting)} devices have not renewed yet ({names}); --force locks them out"
                )
            authority.finish_rotation()
        else:
            authority.rotate()
        mesh.renew_operator(authority)
        return mesh.waiting_for_rotation(inventory)
