"""What the files of a device say about its telemetry, while it runs or not. Nothing is written, nobody is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS, say_span
from edge_agent.adapters.telemetry.files import list_files
from edge_agent.adapters.telemetry.folder import look_at_folder
from edge_agent.adapters.telemetry.progress import ShippingFigures, ShippingProgress, label_of
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.adapters.telemetry.spool import Spool
from edge_agent.core.errors import SettingsError


@final
@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """One database of a device. `begun`: it has been sent something, or tried. `refused_path`: `None` if none were.

    trouble: why points are waiting, in one line; "" if nothing is wrong, as far as the device has noted.
    """

    label: str
    begun: bool
    figures: ShippingFigures
    refused_path: Path | None
    trouble: str


@final
@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """A device's spool. `points_written`: from its beginning, also those that have left it. `points_dropped`: never
    reached a file. `problems`: what is wrong with it now, each in one line."""

    folder: Path
    files: int
    bytes: int
    points_written: int
    points_dropped: int
    databases: tuple[DatabaseStatus, ...]
    problems: tuple[str, ...]


def look_at_spool(folder: Path, device_id: str, servers: Sequence[TelemetryServer]) -> SpoolStatus:
    """Returns what is in a device's spool and how far each database has got with it.

    Raises:
        SettingsError: the folder cannot be read, or the device has recorded nothing there. One line.
    """
    try:
        files = list_files(folder, device_id)
        if not files:
            raise SettingsError(f"{device_id} has recorded nothing in {folder}")
        spool = Spool(folder, device_id, file_bytes_max=0, files_max=0)
        spool.look()
        extent = spool.extent()
        databases = tuple(_look_at(spool, server) for server in servers)
        return SpoolStatus(
            folder=folder,
            files=len(files),
            bytes=sum(file.stat().st_size for file in files),
            points_written=extent.written if extent is not None else 0,
            points_dropped=spool.dropped,
            databases=databases,
            problems=tuple(filter(None, (look_at_folder(folder), _future_points(files)))),
        )
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename or folder}: {error.strerror}") from None


def _look_at(spool: Spool, server: TelemetryServer) -> DatabaseStatus:
    progress = ShippingProgress(spool, server)
    figures = progress.figures()
    if figures is None:  # look() has opened it
        raise OSError("the spool is not open")
    refused = progress.refused_path
    return DatabaseStatus(
        label_of(server),
        progress.cursor_path.exists(),
        figures,
        refused if refused.exists() else None,
        progress.trouble(),
    )


def _future_points(files: Sequence[Path]) -> str:
    now_ns = time.time_ns()
    ahead, newest_ns = 0, 0
    for path in files:
        with path.open("rb") as file:
            for line in file:
                time_ns = line.rpartition(b" ")[2].strip()
                if time_ns.isdigit() and int(time_ns) > now_ns + AHEAD_MAX_NS:
                    ahead, newest_ns = ahead + 1, max(newest_ns, int(time_ns))
    if not ahead:
        return ""
    span = say_span(newest_ns - now_ns)
    return (
        f"{ahead} points are up to {span} ahead of this machine's clock: the device's clock was wrong, or this one is "
        "(`timedatectl`); they are not sent, and reports leave them out"
    )
