"""The users of a mesh that is here: of one made here, or of the local one that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_agent.cli.results import JsonObject
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.runs import find_running
from provisioning.mesh_names import mesh_names, meshes_folder


def find_users(mesh: str | None) -> list[JsonObject]:
    """Returns the users of the mesh of that name; without one, of the only one made here, else of the one that runs.

    Raises:
        ProvisioningError: there is no such mesh, or there are several and no name was given.
        SettingsError: the local mesh's file of users is broken.
    """
    running, made = find_running(), mesh_names(meshes_folder())
    if running is not None and (not made if mesh is None else (mesh == running.mesh and mesh not in made)):
        return [
            {"name": user.name, "devices": _listed(user.devices), "added_at": None, "mesh": running.mesh}
            for user in FleetPeople(Path(running.folder)).users()
        ]
    from edge_agent.cli.membership import open_mesh
    from edge_agent.cli.mesh.view import user_object

    opened = open_mesh(mesh)
    with opened.inventory() as inventory:
        return [user_object(row) | {"mesh": opened.name} for row in inventory.users()]


def users_table(users: Sequence[JsonObject]) -> Table:
    """Each user with the devices that they may use."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="label")
    for name in ("user", "mesh", "devices", "added"):
        table.add_column(name, overflow="fold")
    for user in users:
        devices = "all" if user["devices"] is None else ", ".join(user["devices"])
        table.add_row(Text(user["name"], style="name"), user["mesh"], devices, (user["added_at"] or "–")[:10])
    return table


def _listed(devices: Sequence[str] | None) -> list[str] | None:
    return None if devices is None else list(devices)
