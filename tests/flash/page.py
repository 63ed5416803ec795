"""The record of a run: what happened when, and the device's serial console, shortened."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_WORTH_SHOWING = re.compile(
    r"Linux version|Command line|Machine model|moamesh|cloud-init\[|Cloud-init v|Welcome to|Set hostname|"
    r"System time|Reached target.*(Network is Online|Multi-User|Cloud-init)"
)
_NOT_WORTH_IT = re.compile(r"ci-info: [+|]|ssh_host_|Created symlink|Unknown kernel|Kernel command line:")
_LINE_LENGTH_MAX = 180


class Diary:
    """Notes with the seconds since the beginning."""

    def __init__(self, arch: str, engine: str) -> None:
        self._arch = arch
        self._engine = engine
        self._begun = time.monotonic()
        self._notes: list[tuple[float, str]] = []

    def note(self, text: str) -> None:
        """Something has happened."""
        passed = time.monotonic() - self._begun
        self._notes.append((passed, text))
        print(f"{passed:7.1f} s  {text}", flush=True)

    def write(self, path: str | None, serial: str) -> None:
        """Writes the page, if one is wanted; a page that is there keeps the sections of other runs."""
        if path is None:
            return
        page = Path(path)
        title = f"## {self._arch}, {self._engine}"
        section = "\n".join([title, "", *self._table(), "", "```", *shortened(serial), "```", ""])
        old = page.read_text() if page.exists() else _HEAD
        parts = re.split(r"(?m)^(?=## )", old)
        kept = [part for part in parts if not part.startswith(f"{title}\n")]
        page.write_text("".join([*kept, section]))

    def _table(self) -> list[str]:
        host = f"{platform.system()} {platform.machine()}"
        where = f"Two virtual cores, emulated in software on {host}, which did other work too."
        rows = [f"| {passed:.1f} | {text} |" for passed, text in self._notes]
        return [where, "", "| seconds | what |", "|---:|---|", *rows, "", "The first boot's serial console, shortened:"]


_HEAD = """\
# Flashing, from end to end

What `make test-flash` saw: an image laid out as Raspberry Pi OS is written to a card, with a device's seed in it;
the device boots with its clock in 2001, installs itself from the seed, claims its certificate from the operator's
service, and answers prompts through the mesh. Written by the test itself (`tests/flash/page.py`).

"""


def shortened(serial: str) -> list[str]:
    """The lines that say how far the device is."""
    lines = [_CONTROL.sub("", line).strip() for line in serial.splitlines()]
    return [line[:_LINE_LENGTH_MAX] for line in lines if _WORTH_SHOWING.search(line) and not _NOT_WORTH_IT.search(line)]
