"""The users of a mesh as a table for people and as objects for JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_agent.cli.durations import iso
from edge_agent.cli.results import JsonObject
from edge_agent.operator.users import MeshUser


def user_object(user: MeshUser) -> JsonObject:
    """A user for JSON; `devices` null is all."""
    devices = None if user.devices is None else list(user.devices)
    return {"name": user.name, "devices": devices, "added_at": iso(user.added_at), "mesh": user.mesh}


def users_table(users: Sequence[MeshUser]) -> Table:
    """Each user with the devices that they may use."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="label")
    for name in ("user", "mesh", "devices", "added"):
        table.add_column(name, overflow="fold")
    for user in users:
        devices = "all" if user.devices is None else ", ".join(user.devices)
        table.add_row(Text(user.name, style="name"), user.mesh, devices, (iso(user.added_at) or "–")[:10])
    return table
