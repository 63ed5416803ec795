"""Which meshes there are on this machine, without opening any."""

from __future__ import annotations

from pathlib import Path

from edge_agent.files import is_there
from edge_agent.folders import data_folder

SETTINGS_FILE = "mesh.toml"


def meshes_folder() -> Path:
    """Returns where meshes are kept: `meshes` in the data folder (`edge_agent.folders`)."""
    return data_folder() / "meshes"


def mesh_names(folder: Path) -> list[str]:
    """Returns the names of the meshes in a folder of meshes."""
    return sorted(mesh.name for mesh in folder.glob("*") if is_there(mesh / SETTINGS_FILE))
