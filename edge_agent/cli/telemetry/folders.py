"""Telemetry of one folder, or of every device's folder below it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_agent.adapters.telemetry import read_points
from edge_agent.core.errors import SettingsError
from edge_agent.wire.line_protocol import Point

DEPTH = 3  # a fleet's folder holds <device>/telemetry/<file>


def read_all(folder: Path) -> Iterator[Point]:
    """Yields the points of every line-protocol file in `folder` and the folders below it.

    Raises:
        SettingsError: there is no such folder, it cannot be read, or no telemetry is in it. One line; raised at once.
    """
    if not folder.is_dir():
        raise SettingsError(f"no telemetry: {folder} is {'not a folder' if folder.exists() else 'not there'}")
    try:
        folders = sorted({path.parent for depth in range(DEPTH) for path in folder.glob("*/" * depth + "*.lp")})
    except OSError as error:
        raise SettingsError(f"cannot read {folder}: {error.strerror}") from None
    if not folders:
        raise SettingsError(f"no telemetry in {folder}: line-protocol files end in .lp")
    return _points(folders)


def _points(folders: list[Path]) -> Iterator[Point]:
    for folder in folders:
        try:
            yield from read_points(folder)
        except OSError as error:
            raise SettingsError(f"cannot read {folder}: {error.strerror}") from None
