"""Where the files of this user are: what is kept and what may go, by $MOAMESH_HOME and the XDG variables.

Nothing is made here: who writes into a folder makes it.
"""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "MOAMESH_HOME"


def data_folder() -> Path:
    """Returns where devices, meshes, models and keys are: `$MOAMESH_HOME`, or `moamesh` in the user's data folder."""
    if own := os.environ.get(HOME_VARIABLE):
        return Path(own)
    from platformdirs import user_data_path  # here, as below: `moamesh --help` needs no folder

    return user_data_path("moamesh")


def state_folder() -> Path:
    """Returns where files are that outlive a run but are no settings: `moamesh` in the user's state folder."""
    from platformdirs import user_state_path

    return user_state_path("moamesh")
