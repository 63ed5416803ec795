"""The users of a mesh as a table for people and as objects for JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edge_agent.cli.durations import iso
from edge_agent.cli.terminal import JsonObject, plain_table
from edge_agent.operator.users import MeshUser


def user_object(user: MeshUser) -> JsonObject:
    """A user for JSON; `devices` null is all."""
    devices = None if user.devices is None else list(user.devices)
    return {"name": user.name, "devices": devices, "added_at": iso(user.added_at), "mesh": user.mesh}


def users_table(users: Sequence[MeshUser]) -> Table:
    """Each user with the devices that they may use."""
    table = plain_table("user", "mesh", "devices", "added")
    for user in users:
        devices = "all" if user.devices is None else ", ".join(user.devices)
        table.add_row(Text(user.name, style="name"), user.mesh, devices, (iso(user.added_at) or "–")[:10])
    return table
