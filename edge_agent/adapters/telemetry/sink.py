"""The telemetry sink: points go into a bounded buffer, at once from there to files, and from the files to databases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.adapters.telemetry.clock import ClockStep, PointClock, elapsed_ns
from edge_agent.adapters.telemetry.files import recent_times_ns
from edge_agent.adapters.telemetry.folder import say_trouble
from edge_agent.adapters.telemetry.pace import Pace
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.adapters.telemetry.spool import Spool
from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.messages import DeviceStatus
from edge_agent.wire.line_protocol import Point, encode
from edge_agent.wire.measurements import Record, to_point

if TYPE_CHECKING:
    from edge_agent.adapters.telemetry.shipper import Shipper

log = logging.getLogger(__name__)

FILE_BYTES_MAX = 8 * 1024 * 1024  # about 25,000 points: small enough to open in an editor
FILES_MAX = 16  # with the above 128 MiB, weeks of a busy device, little of a memory card
BUFFER_POINTS_MAX = 10_000  # about 5 MB; at 100 points a second, a disk that hangs for over a minute
REPORT_S = 10.0  # between two points about the telemetry itself: a growing spool is seen in time


class FileTelemetrySink:
    """Keeps measurements as InfluxDB line protocol in rotating files, and sends them on to databases from there.

    Never blocks, never raises: recording costs a clock reading and an append, and a thread writes each point to its
    file at once. What does not fit into the buffer or cannot be written is dropped and counted in `dropped`. Each
    database has a thread of its own that reads the files: a server that is slow, dead or wrong delays nothing here.
    Every point has a whole millisecond of its own (see `PointClock`).

    Duty of the caller: await `stop`, or what is in the buffer just then is lost, and what is not sent waits in the
    spool. `record_*` from one thread.

    Raises:
        SettingsError: a database is given and influxdb-client is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mesh: str,
        device_id: str,
        model: str,
        file_bytes_max: int = FILE_BYTES_MAX,
        files_max: int = FILES_MAX,
        buffer_points_max: int = BUFFER_POINTS_MAX,
        servers: Sequence[TelemetryServer] = (),
        pace: Pace | None = None,
        report_s: float = REPORT_S,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = elapsed_ns,
    ) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._model = model
        self._folder = folder
        self._buffer_points_max = buffer_points_max
        self._pace = pace or Pace()
        self._report_s = report_s
        self._clock = PointClock(recent_times_ns(folder, device_id), wall_ns, monotonic_ns, self._tell_step)
        self._spool = Spool(folder, device_id, file_bytes_max=file_bytes_max, files_max=files_max)
        self._shippers = make_shippers(self._spool, servers, self._pace, wall_ns, monotonic_ns)
        self._shipping = False
        self._reported_at = time.monotonic()
        self._buffer: deque[tuple[int, Record]] = deque()
        self._overflowed = 0  # counted by the recording thread
        self._overflow_kept = 0
        self._unwritten = 0  # counted by the writing thread
        self._trouble = ""
        self._tell_trouble: Callable[[str], None] = lambda trouble: None
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Points lost so far: the buffer was full, the disk refused them, or they came after `stop`."""
        return self._overflowed + self._unwritten

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told, on the running loop, when the folder cannot be written, and "" when it can again."""
        loop = asyncio.get_running_loop()

        def tell(trouble: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there to be told
                loop.call_soon_threadsafe(on_health, trouble)

        self._tell_trouble = tell

    def record_status(self, status: DeviceStatus) -> None:
        """The `agent_queue` measurement."""
        self._record(status)

    def record_request(self, record: RecordRequest) -> None:
        """The `agent_request` measurement."""
        self._record(record)

    def record_session(self, record: RecordSession) -> None:
        """The `agent_session` measurement."""
        self._record(record)

    async def stop(self) -> None:
        """Writes out what is buffered, sends what gets through within `Pace.stop_s` seconds, and ends the threads.

        May be called twice; points after it are dropped.
        """
        self._stopping.set()
        self._something.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
            # side by side: the bound holds for all of them together
            await asyncio.gather(*(asyncio.to_thread(shipper.stop, self._pace.stop_s) for shipper in self._shippers))

    def _record(self, record: Record) -> None:
        if self._stopping.is_set() or len(self._buffer) >= self._buffer_points_max:
            self._overflowed += 1
            return
        self._buffer.append((self._clock.next_ns(), record))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_points, name="telemetry", daemon=True)
            self._thread.start()
        self._something.set()

    def _tell_step(self, step: ClockStep) -> None:
        log.warning("telemetry: %s", step)

    def _write_points(self) -> None:
        """Runs in the thread: sleeps while there is nothing, writes what is there."""
        while not (self._stopping.is_set() and not self._buffer):
            self._something.wait(self._until_report_s())
            self._something.clear()
            batch = [self._buffer.popleft() for _ in range(len(self._buffer))]
            try:
                self._write(self._lines(batch))
                if self._until_report_s() == 0.0 or self._stopping.is_set():
                    self._report()
            except Exception as error:  # unforeseen; the next points must find a thread that writes them
                log.exception("telemetry to %s", self._folder)
                self._note_trouble(say_trouble(self._folder, error))
        self._spool.close()

    def _until_report_s(self) -> float | None:
        """Seconds to the next report; `None` where there is no database to report of."""
        return max(0.0, self._reported_at + self._report_s - time.monotonic()) if self._shippers else None

    def _write(self, lines: list[str]) -> None:
        before = None
        try:
            self._spool.open()
            before = self._spool_written()
            self._ship()
            self._spool.append(lines)
            self._note_trouble("")
        except Exception as error:
            # telemetry must not take the agent down, whatever is wrong; a count and one line tell of it
            dropped = len(lines) - (self._spool_written() - before if before is not None else 0)
            self._unwritten += dropped
            self._spool.dropped += dropped
            self._note_trouble(say_trouble(self._folder, error))

    def _note_trouble(self, trouble: str) -> None:
        """Tells when trouble with the folder begins, becomes another, and ends; not at each try."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.warning("telemetry to %s: %s", self._folder, trouble)
        else:
            log.warning("telemetry can be written again; %d points were dropped so far", self.dropped)
        self._tell_trouble(trouble)

    def _spool_written(self) -> int:
        extent = self._spool.extent()
        return extent.written if extent is not None else 0

    def _ship(self) -> None:
        """Starts the shippers once there is a spool for them to read."""
        if not self._shipping:
            self._shipping = True
            for shipper in self._shippers:
                shipper.start()

    def _lines(self, batch: list[tuple[int, Record]]) -> list[str]:
        """The lines of what was recorded. One that no line can say is dropped and counted."""
        lines = []
        for time_ns, record in batch:
            try:
                point = to_point(record, mesh=self._mesh, device_id=self._device_id, model=self._model, time_ns=time_ns)
                line = encode(point)
            except Exception as error:  # whatever a record holds must not end this thread
                log.warning(
                    "a measurement is dropped, as line protocol cannot express it: %s: %s", type(error).__name__, error
                )
                line = ""
            if line:
                lines.append(line)
            else:
                self._unwritten += 1
                self._spool.dropped += 1
        return lines

    def _report(self) -> None:
        """Writes `agent_telemetry`: what became of the points, one point for each database."""
        self._reported_at = time.monotonic()
        overflowed = self._overflowed
        self._spool.dropped += overflowed - self._overflow_kept
        self._overflow_kept = overflowed
        lines = []
        try:
            self._spool.keep_counts()
            for shipper in self._shippers:
                if (figures := shipper.figures()) is not None:
                    tags = {"mesh": self._mesh, "device_id": self._device_id, "server": shipper.label}
                    numbers = asdict(figures) | {"points_dropped": self._spool.dropped}
                    lines.append(encode(Point("agent_telemetry", tags, numbers, self._clock.next_ns())))
        except OSError as error:
            log.debug("telemetry of the telemetry: %s", error)  # the same disk has its line already
        self._write(lines)


def make_shippers(
    spool: Spool,
    servers: Sequence[TelemetryServer],
    pace: Pace,
    wall_ns: Callable[[], int],
    elapsed_ns: Callable[[], int],
) -> list[Shipper]:
    """Returns a shipper for each database, not yet started.

    Raises:
        SettingsError: influxdb-client is not installed.
    """
    if not servers:
        return []
    from edge_agent.adapters.telemetry.shipper import Shipper  # influxdb-client only where there is a database

    return [Shipper(spool, server, pace, wall_ns, elapsed_ns) for server in servers]
