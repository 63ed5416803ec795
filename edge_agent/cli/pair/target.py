"""Pairs with the local mesh that runs, or with one made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.cli.pair.pairing import Paired, PairWish
from edge_agent.fleet.runs import RunningFleet

if TYPE_CHECKING:  # it brings cryptography along, which a local mesh does not need
    from provisioning.mesh import MeshFolder


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
    from edge_agent.operator.users import remove_user

    return await remove_user(target, user)
