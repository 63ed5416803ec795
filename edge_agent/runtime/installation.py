"""What tells this installation from every other: a secret beside the device's data.

Of it the device's client id at its home broker is made, by which nobody else is to take its session over, and a tag
that everybody may read. It gives no rights. A copied data folder has the same one: so two of a kind are found.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from edge_agent.files import read_if_there, reason, write_atomically
from edge_agent.wire import client_ids

_log = logging.getLogger(__name__)

INSTALLATION_FILE = "installation"
_FILE_BYTES_MAX = 256
_SECRET = re.compile(f"[0-9a-f]{{{2 * client_ids.SECRET_BYTES}}}")
_NO_SECRET = re.compile("[0-9a-f]{12}")  # of the first edition, which showed it to other devices' brokers


def installation(folder: Path) -> str:
    """Returns the secret of the installation whose data are in `folder`, made at the first call.

    Where the file is damaged or cannot be kept, a new one will do, and that is said: nothing depends on it but what a
    broker may have kept for this device while it was away.
    """
    path = folder / INSTALLATION_FILE
    try:
        kept = read_if_there(path, _FILE_BYTES_MAX)
        text = (kept or b"").decode("ascii", "replace").strip()
        if _SECRET.fullmatch(text):
            return text
        if kept is not None and not _NO_SECRET.fullmatch(text):
            _log.warning("%s is damaged: this device starts a new session at its broker", path)
        new = client_ids.new_secret()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, new.encode() + b"\n")
    except OSError as error:
        new = client_ids.new_secret()
        _log.warning("%s: %s; this device starts a new session at its broker at each start", path, reason(error))
    return new
