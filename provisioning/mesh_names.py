"""Which meshes there are on this machine, without opening any."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.files import is_there

SETTINGS_FILE = "mesh.toml"


def meshes_folder() -> Path:
    """Returns where meshes are kept: `meshes` in `$MOAMESH_HOME`, or in `moamesh` in the user's data folder."""
    if own := os.environ.get("MOAMESH_HOME"):
        return Path(own) / "meshes"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "moamesh" / "meshes"


def mesh_names(folder: Path) -> list[str]:
    """Returns the names of the meshes in a folder of meshes."""
    return sorted(mesh.name for mesh in folder.glob("*") if is_there(mesh / SETTINGS_FILE))
