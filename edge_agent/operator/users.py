"""The people who use a mesh's devices: who they are, and how one is added or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

from broker.passwords import hash_password
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.runs import find_running
from edge_agent.operator.meshes import open_mesh
from edge_agent.wire.topics import OPERATOR_ID, check_id, user_login
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically
from provisioning.mesh_names import mesh_names, meshes_folder

if TYPE_CHECKING:  # it brings cryptography along, which a local mesh does not need
    from provisioning.mesh import MeshFolder


@final
@dataclass(frozen=True, slots=True)
class MeshUser:
    """A user of a mesh. `devices` are the only ones they may ask, `None` is all; `added_at` is in seconds since 1970,
    `None` where that is not kept."""

    name: str
    devices: tuple[str, ...] | None
    added_at: float | None
    mesh: str


@final
@dataclass(frozen=True, slots=True)
class AddedUser:
    """How a new user logs in. `problem` is what is still to be done before they can; "" if nothing."""

    login: str
    password: str = field(repr=False)
    problem: str


def check_user_name(name: str) -> None:
    """Raises SettingsError if nobody may be called so."""
    try:
        check_id(name, "user")
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if name == OPERATOR_ID:
        raise SettingsError(f"a user may not be called {name!r}: that name is reserved")


def find_users(mesh: str | None) -> list[MeshUser]:
    """Returns the users of the mesh of that name; without one, of the only one made here, else of the one that runs.

    Raises:
        ProvisioningError: there is no such mesh, or there are several and no name was given.
        SettingsError: the local mesh's file of users is broken.
    """
    running, made = find_running(), mesh_names(meshes_folder())
    if running is not None and (not made if mesh is None else (mesh == running.mesh and mesh not in made)):
        people = FleetPeople(Path(running.folder)).users()
        return [MeshUser(one.name, one.devices, None, running.mesh) for one in people]
    opened = open_mesh(mesh)
    with opened.inventory() as inventory:
        return [MeshUser(row.name, row.devices, row.added_at, opened.name) for row in inventory.users()]


async def add_user(
    mesh: MeshFolder, name: str, devices: Sequence[str] | None, *, password_file: Path | None = None
) -> AddedUser:
    """Adds a user of a mesh that was made here, and tells devices with brokers of their own.

    Args:
        devices: which they may use; `None` is all.
        password_file: where the new password is written, for its owner alone. Without such a file only the caller has
            it: it is kept nowhere.

    Raises:
        SettingsError: nobody may be called so.
        ProvisioningError: there is such a user, or no such device; a file can't be written. Then there is no new user.
    """
    from edge_agent.operator.user_sync import bring_users, touched
    from provisioning.proofs import new_secret

    check_user_name(name)
    secret = new_secret()
    with mesh.inventory() as inventory:
        inventory.add_user(name, hash_password(secret), devices)
        if password_file is not None:
            try:
                write_atomically(password_file, f"{secret}\n".encode(), PRIVATE)
            except ProvisioningError:
                inventory.remove_user(name)  # nobody would ever know the password
                raise
    return AddedUser(user_login(name), secret, await bring_users(mesh, touched(mesh, devices, ())))


async def remove_user(mesh: MeshFolder, name: str) -> str:
    """Takes a user's secret back; returns what is still to be done about it, "" if nothing.

    Raises:
        ProvisioningError: there is no such user, or the mesh's files can't be used.
    """
    from edge_agent.operator.user_sync import bring_users, touched

    with mesh.inventory() as inventory:
        before = {row.name: row for row in inventory.users()}
        inventory.remove_user(name)
    return await bring_users(mesh, touched(mesh, before[name].devices, ()))
