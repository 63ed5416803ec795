"""Writes a simulated run as the telemetry of a live mesh: the same measurements, tags and fields, in line protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from edge_agent.core.effects import PublishStatus, RecordRequest, RecordSession
from edge_agent.core.errors import SettingsError
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.wire.line_protocol import encode
from edge_agent.wire.measurements import Record, to_point

MESH = "simulated"
_FILE = "simulated.00000001.lp"  # named as devices name theirs, so that the same reader finds it
_BEGINNING_NS = 1_735_689_600_000_000_000  # simulated second 0 is the beginning of 2025: the same at every run


class TelemetryWriter:
    """Attached to a cluster before it runs; `close` must be called after.

    Raises:
        SettingsError: the folder cannot be written, or holds telemetry already.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._last_ns = 0
        path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("x", encoding="utf-8", newline="\n")
        except FileExistsError:
            raise SettingsError(f"{path} is there already: give another folder or remove it") from None
        except OSError as error:
            raise SettingsError(f"{folder}: {error.strerror}") from None
        take: Callable[[int, Record], None] = self._take
        cluster.on_effect(RecordRequest, take)
        cluster.on_effect(RecordSession, take)
        cluster.on_effect(PublishStatus, lambda device, effect: self._take(device, effect.status))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _take(self, device: int, record: Record) -> None:
        # no two points get one timestamp: with the same tags, a database would take the later for a correction
        self._last_ns = max(_BEGINNING_NS + round(self._cluster.now * 1e9), self._last_ns + 1)
        name = self._cluster.names[device]
        point = to_point(record, mesh=MESH, device_id=name, model="simulated", time_ns=self._last_ns)
        self._file.write(encode(point) + "\n")
