"""What tells this installation from every other: a random id beside the device's data.

It stands in the name of the device's session at its home broker, where a device of another mesh may have the same id.
It is no secret and gives no rights. A copied data folder has the same one, which is how a broker finds two of a kind.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from edge_agent.adapters.mqtt.settings import INSTALL_BYTES
from edge_agent.files import read_if_there, reason, write_atomically
from edge_agent.wire.topics import is_id

_log = logging.getLogger(__name__)

INSTALLATION_FILE = "installation"
_FILE_BYTES_MAX = 256


def installation(folder: Path) -> str:
    """Returns the id of the installation whose data are in `folder`, made at the first call.

    Where the file is damaged or cannot be kept, a new one will do, and that is said: nothing depends on it but what a
    broker may have kept for this device while it was away.
    """
    path = folder / INSTALLATION_FILE
    try:
        kept = read_if_there(path, _FILE_BYTES_MAX)
        text = (kept or b"").decode("ascii", "replace").strip()
        if is_id(text):
            return text
        if kept is not None:
            _log.warning("%s is damaged: this device takes a new session at its broker", path)
        new = secrets.token_hex(INSTALL_BYTES)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, new.encode() + b"\n")
    except OSError as error:
        new = secrets.token_hex(INSTALL_BYTES)
        _log.warning("%s: %s; this device takes a new session at its broker at each start", path, reason(error))
    return new
