"""Which mesh is meant: one that was made here, or the local one that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import RunningFleet, find_running
from provisioning.errors import ProvisioningError
from provisioning.mesh_names import mesh_names, meshes_folder

if TYPE_CHECKING:  # it brings cryptography along, which a local mesh does not need
    from provisioning.mesh import MeshFolder


def open_mesh(name: str | None) -> MeshFolder:
    """Opens the mesh of that name, or the only one that was made here.

    Raises:
        ProvisioningError: there is none, or there are several and no name was given.
    """
    from provisioning.mesh import MeshFolder

    folder = meshes_folder()
    if name is None:
        names = mesh_names(folder)
        if not names:
            raise ProvisioningError("there is no mesh yet; make one: moamesh mesh create NAME")
        if len(names) > 1:
            raise ProvisioningError(f"there are several meshes ({', '.join(names)}): choose one with --mesh")
        name = names[0]
    return MeshFolder.open(folder / name)


def find_mesh(name: str | None) -> RunningFleet | MeshFolder:
    """Returns the mesh of that name, or the only one there is: the local one that runs, or one made here.

    Raises:
        SettingsError, ProvisioningError: there is none, or there are several and no name was given.
    """
    running, made = find_running(), mesh_names(meshes_folder())
    if running is not None and name is None and made:
        raise SettingsError(
            f"the local mesh that runs ({running.mesh}) or one made here ({', '.join(made)})? Choose one with --mesh"
        )
    if running is not None and (name is None or (name == running.mesh and name not in made)):
        return running
    if name is None and not made:
        raise SettingsError("no local mesh is running and none was made here: start one with `moamesh up`")
    return open_mesh(name)
