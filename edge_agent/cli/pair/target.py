"""Which mesh a pairing is with: the local one that runs, or one made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.cli.pair.pairing import Paired, PairWish
from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import RunningFleet, find_running
from provisioning.mesh_names import mesh_names, meshes_folder

if TYPE_CHECKING:  # it brings cryptography along, which a local mesh does not need
    from provisioning.mesh import MeshFolder


def find_target(mesh: str | None) -> RunningFleet | MeshFolder:
    """Returns the mesh of that name, or the only one there is: the local one that is running, or one made here.

    Raises:
        SettingsError, ProvisioningError: there is none, or there are several and no name was given.
    """
    made = mesh_names(meshes_folder())
    running = find_running()
    if running is not None and mesh is None and made:
        raise SettingsError(
            f"the local mesh that runs ({running.mesh}) or one made here ({', '.join(made)})? Say which with --mesh"
        )
    if running is not None and (mesh is None or (mesh == running.mesh and mesh not in made)):
        return running
    if mesh is None and not made:
        raise SettingsError("no local mesh is running and none was made here: start one with `moamesh up`")
    from edge_agent.cli.membership import open_mesh

    return open_mesh(mesh)


async def pair_with(target: RunningFleet | MeshFolder, wish: PairWish) -> Paired:
    """Gives a user a new secret.

    Raises:
        SettingsError, ProvisioningError: something is not right; unless the message says otherwise nothing changed.
    """
    if isinstance(target, RunningFleet):
        from edge_agent.cli.pair.local import pair_locally

        return await pair_locally(target, wish)
    from edge_agent.cli.pair.mesh import pair_with_mesh

    return await pair_with_mesh(target, wish)


async def unpair(target: RunningFleet | MeshFolder, user: str) -> str:
    """Takes a user's secret back; returns what is still to be done about it, "" if nothing.

    Raises:
        SettingsError, ProvisioningError: nobody is called so, or a file can't be used.
    """
    if isinstance(target, RunningFleet):
        from edge_agent.cli.pair.local import remove_locally

        remove_locally(target, user)
        return ""
    from edge_agent.cli.pair.mesh import remove_from_mesh

    return await remove_from_mesh(target, user)
