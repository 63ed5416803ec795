"""Which client this user's commands are where a broker knows nobody by name: the same in each, and not to be guessed.

So `moamesh answers` lists what `moamesh ask` asked before, and nobody else's.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from edge_agent.files import read_if_there, write_atomically
from edge_agent.folders import state_folder
from edge_agent.wire.topics import is_id

_FILE = "client"
_BYTES_MAX = 128


def own_client(folder: Path | None = None) -> str | None:
    """Returns the name, made at the first call; `None` where it cannot be kept: then each command is another client."""
    path = (folder or state_folder()) / _FILE
    try:
        kept = read_if_there(path, _BYTES_MAX)
        if kept is not None and is_id(name := kept.decode(errors="replace").strip()):
            return name
        name = f"cli-{secrets.token_hex(8)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, name.encode())
    except OSError:
        return None
    return name
