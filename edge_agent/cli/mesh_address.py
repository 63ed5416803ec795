"""Which mesh a command speaks to."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.core.errors import SettingsError
from edge_agent.fleet.runs import find_running

DEFAULT_MESH = "home"


@dataclass(frozen=True, slots=True)
class MeshAddress:
    """A broker and the name of a mesh on it."""

    broker: str
    mesh: str


def find_mesh(broker: str | None, mesh: str | None) -> MeshAddress:
    """Returns what was asked for, or the local mesh that is running.

    Raises:
        SettingsError: no broker was named and no local mesh is running.
    """
    if broker is not None:
        return MeshAddress(broker, mesh or DEFAULT_MESH)
    running = find_running()
    if running is None:
        raise SettingsError("no local mesh is running: start one with `moamesh up`, or name a broker with --broker URL")
    return MeshAddress(running.broker, mesh or running.mesh)
