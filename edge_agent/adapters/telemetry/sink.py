"""The telemetry sink: points go into a bounded buffer at once and to files in batches, from a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.telemetry.files import RotatingFiles
from edge_agent.core.effects import RecordRequest, RecordSession
from edge_agent.core.messages import DeviceStatus
from edge_agent.wire.line_protocol import encode
from edge_agent.wire.measurements import Record, to_point

log = logging.getLogger(__name__)

FILE_BYTES_MAX = 8 * 1024 * 1024  # about 25,000 points: small enough to open in an editor
FILES_MAX = 16  # with the above 128 MiB, weeks of a busy device, little of a memory card
FLUSH_INTERVAL_S = 1.0  # what a crash may lose; shorter wears memory cards
BUFFER_POINTS_MAX = 10_000  # about 5 MB; at 100 points a second, a disk that hangs for over a minute


class FileTelemetrySink:
    """Keeps measurements as InfluxDB line protocol in rotating files. Never blocks, never raises.

    Recording costs a clock reading and an append. What does not fit into the buffer or cannot be written is dropped
    and counted in `dropped`. No two points get the same timestamp, and time never runs backwards, whatever the wall
    clock does: after it was set back, points go on from the last one at the pace of the monotonic clock.

    Duty of the caller: await `stop`, or the last `flush_interval_s` of points is lost. `record_*` from one thread.
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
        flush_interval_s: float = FLUSH_INTERVAL_S,
        buffer_points_max: int = BUFFER_POINTS_MAX,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._model = model
        self._files = RotatingFiles(folder, device_id, file_bytes_max=file_bytes_max, files_max=files_max)
        self._folder = folder
        self._flush_interval_s = flush_interval_s
        self._buffer_points_max = buffer_points_max
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ns = 0
        self._last_monotonic_ns = monotonic_ns()
        self._buffer: deque[tuple[int, Record]] = deque()
        self._overflowed = 0  # counted by the recording thread
        self._unwritten = 0  # counted by the writing thread
        self._failing = False
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Points lost so far: the buffer was full, the disk refused them, or they came after `stop`."""
        return self._overflowed + self._unwritten

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
        """Writes out what is buffered and ends the thread. May be called twice; points after it are dropped."""
        self._stopping.set()
        self._something.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _record(self, record: Record) -> None:
        if self._stopping.is_set() or len(self._buffer) >= self._buffer_points_max:
            self._overflowed += 1
            return
        self._buffer.append((self._timestamp_ns(), record))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_batches, name="telemetry", daemon=True)
            self._thread.start()
        self._something.set()

    def _timestamp_ns(self) -> int:
        monotonic_ns = self._monotonic_ns()
        step_ns = max(1, monotonic_ns - self._last_monotonic_ns)
        self._last_monotonic_ns = monotonic_ns
        self._last_ns = max(self._wall_ns(), self._last_ns + step_ns if self._last_ns else 0)
        return self._last_ns

    def _write_batches(self) -> None:
        """Runs in the thread: sleeps while there is nothing, then gathers for one interval and writes."""
        while not (self._stopping.is_set() and not self._buffer):
            self._something.wait()
            self._something.clear()
            self._stopping.wait(self._flush_interval_s)
            batch = [self._buffer.popleft() for _ in range(len(self._buffer))]
            try:
                self._files.append(self._lines(batch))
                self._failing = False
            except Exception as error:
                # telemetry must not take the agent down, whatever is wrong; a count and one line tell of it
                self._unwritten += len(batch)
                if not self._failing:
                    log.warning("telemetry to %s fails, points are dropped until it works: %s", self._folder, error)
                self._failing = True
        self._files.close()

    def _lines(self, batch: list[tuple[int, Record]]) -> list[str]:
        points = (
            to_point(record, mesh=self._mesh, device_id=self._device_id, model=self._model, time_ns=time_ns)
            for time_ns, record in batch
        )
        return [line for line in map(encode, points) if line]
