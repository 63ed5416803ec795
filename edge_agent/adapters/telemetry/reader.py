"""Reads back what the sink wrote, for analysis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from edge_agent.adapters.telemetry.files import list_files
from edge_agent.wire.line_protocol import Point, decode

log = logging.getLogger(__name__)


def read_points(folder: Path) -> Iterator[Point]:
    """Yields every point in `folder`: device by device, each in the order of recording.

    May run while devices write. A line that is still being written is left out; one that is damaged is skipped and
    logged with its place.
    """
    for path in list_files(folder):
        try:
            file = path.open(encoding="utf-8", errors="replace", newline="\n")
        except FileNotFoundError:  # rotated away since the folder was listed
            continue
        with file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    break
                try:
                    yield decode(line[:-1])
                except ValueError as error:
                    log.warning("%s:%d: damaged telemetry line skipped: %s", path, number, error)
