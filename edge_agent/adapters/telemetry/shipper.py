"""Sends the spool to one database, from a thread of its own: in order, again until it is taken, each point counted."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import final

from edge_agent.adapters.telemetry.batch import Batch
from edge_agent.adapters.telemetry.clock import elapsed_ns
from edge_agent.adapters.telemetry.cursor import Cursor
from edge_agent.adapters.telemetry.dialects import (
    BROKEN_OFF,
    UNREACHABLE,
    DatabaseWriter,
    WriteError,
    WriteProblem,
    require_client,
)
from edge_agent.adapters.telemetry.pace import Pace
from edge_agent.adapters.telemetry.progress import ShippingFigures, ShippingProgress, label_of
from edge_agent.adapters.telemetry.refused import RefusedFile
from edge_agent.adapters.telemetry.server import (
    ServerKind,
    TelemetryServer,
    TelemetryServerError,
    identify,
    look_at_victoria_metrics,
)
from edge_agent.adapters.telemetry.server_clock import ServerClock
from edge_agent.adapters.telemetry.spool import Place, Spool
from edge_agent.adapters.telemetry.vetting import Bounds, apart, first_lot, is_behind
from edge_agent.core.errors import SettingsError

log = logging.getLogger(__name__)

SMALL_BATCH_POINTS = 100  # to a server that is slow or in trouble; less at once would not be easier for it
SMALL_BACKLOG_BYTES = 64 * 1024  # with more than this unsent, the next batch is not kept waiting to gather
REFUSED_LOG_S = 60.0  # refused points are told of at once, then again at most this often
CLOCK = "clock"
STOP_TRY_S = 1.0  # for one last try with a server in trouble


@final
class Shipper:
    """Sends what is in the spool to one database until it is stopped. Nothing here is awaited by anybody else.

    Raises:
        SettingsError: influxdb-client is not installed.
    """

    def __init__(
        self,
        spool: Spool,
        server: TelemetryServer,
        pace: Pace,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed_ns: Callable[[], int] = elapsed_ns,
    ) -> None:
        require_client()
        self.label = label_of(server)
        self._server = server
        self._pace = pace
        self._progress = ShippingProgress(spool, server)
        self._refused = RefusedFile(self._progress.refused_path)
        self._wall_ns = wall_ns
        self._clock = ServerClock(server, elapsed_ns)
        self._keeps_ns: int | None = None
        self._behind_told = False
        self._writer: DatabaseWriter | None = None
        self._connections_seen = 0
        self._was_away = True  # perhaps, while this device was
        self._limit = self._ceiling = pace.batch_points_max
        self._failures = 0
        self._trouble: WriteError | None = None
        self._trouble_since = 0.0
        self._delivered = 0  # since the trouble ended
        self._refused_told_at = -REFUSED_LOG_S
        self._refused_untold = 0
        self._durable_later: deque[tuple[float, Cursor]] = deque()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._stop_at = float("inf")
        self._thread: threading.Thread | None = None
        spool.readers.append(self)

    def start(self) -> None:
        """Begins to send. To be called before anything more is appended to the spool."""
        self._progress.begin()
        self._thread = threading.Thread(target=self._run, name=f"telemetry to {self.label}", daemon=True)
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Sends what is left, as far as it gets in `within_s` seconds, and ends. The rest stays in the spool.

        A request that hangs is left behind with its thread, which notes nothing any more.
        """
        self._stop_at = time.monotonic() + within_s
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(within_s)
            self._progress.abandon()
            self._thread = None

    def figures(self) -> ShippingFigures | None:
        """Returns what became of the points so far; `None` before there was one."""
        return self._progress.figures()

    def points_appended(self) -> None:
        """As `SpoolReader`."""
        self._news.set()

    def before_removal(self, oldest_kept: int) -> None:
        """As `SpoolReader`."""
        self._progress.before_removal(oldest_kept)

    def _run(self) -> None:
        try:
            while self._left_s() > 0.0 and not (self._stopping.is_set() and self._is_sent_away()):
                self._news.clear()
                was_stopping = self._stopping.is_set()
                if not self._step() and was_stopping:
                    break
        finally:
            self._close_writer()

    def _step(self) -> bool:
        """Sends one batch, or waits for one. Returns whether it makes sense to go on when the device is stopping."""
        try:
            return self._ship()
        except WriteError as failure:
            self._note_trouble(failure)
        except TelemetryServerError as error:
            trouble, cause = WriteProblem.SETTINGS, "not known"
            if error.retryable:
                trouble, cause = WriteProblem.NOTHING_ARRIVED, UNREACHABLE
            self._note_trouble(WriteError(str(error), trouble, cause))
        except SettingsError as error:  # such as a ca_file that was there when the device started
            self._note_trouble(WriteError(str(error), WriteProblem.SETTINGS, "settings"))
        except Exception as error:  # a disk that fails, an answer nobody thought of: the thread must not die of it
            words = " ".join(f"{type(error).__name__}: {error}".split())
            self._note_trouble(WriteError(words, WriteProblem.NOTHING_ARRIVED, "unexpected"))
        self._stopping.wait(self._delay_s())
        return False

    def _ship(self) -> bool:
        writer = self._writer or self._open_writer()
        unsure = self._progress.unsure_place()
        batch = self._progress.next_batch(self._limit, self._pace.batch_bytes_max)
        if batch is None:
            self._tell_recovery()
            if not self._stopping.is_set():
                self._news.wait()
            return False
        bounds = self._bounds()
        lot = first_lot(batch, bounds)
        batch = lot.batch
        if lot.aside or lot.wait:
            self._progress.take_back(unsure)
            if lot.wait:
                raise self._clocks_differ(bounds)
            self._set_aside(batch, lot.aside)
            return True
        try:
            self._send(writer, batch)
        except WriteError as failure:
            return self._handle_failure(failure, batch, unsure)
        if not self._progress.is_behind(SMALL_BACKLOG_BYTES):
            self._tell_recovery()
            self._stopping.wait(self._pace.gather_s)
        self._limit = min(self._ceiling, self._limit * 2)
        return True

    def _send(self, writer: DatabaseWriter, batch: Batch) -> None:
        timeout_s = self._server.timeout_s
        if self._stopping.is_set():
            timeout_s = min(timeout_s, max(0.1, self._left_s()))
        timeout_s = STOP_TRY_S if self._stopping.is_set() and self._trouble else timeout_s
        writer.write(batch.data, timeout_s, self._is_slow)
        self._progress.sent(batch)
        if self._trouble is None:
            self._progress.note_trouble("")
        self._failures = 0
        if self._trouble is not None:
            self._delivered += batch.points
        self._watch_durability(writer)

    def _bounds(self) -> Bounds:
        """Which times may be sent now."""
        bounds = Bounds(self._wall_ns(), self._clock.now_ns(), self._keeps_ns)
        behind = is_behind(bounds)
        if behind and not self._behind_told:
            words = apart(bounds.own_ns, bounds.server_ns or 0)
            log.warning("telemetry to %s: its points lie in the past, %s", self.label, words)
        self._behind_told = behind
        return bounds

    def _clocks_differ(self, bounds: Bounds) -> WriteError:
        self._clock.forget()  # it may be the one that is set right
        words = apart(bounds.own_ns, bounds.server_ns or 0)
        return WriteError(f"{self._server.url}: {words}", WriteProblem.SETTINGS, CLOCK)

    def _open_writer(self) -> DatabaseWriter:
        kind = identify(self._server)
        self._progress.durable_only_later = kind is ServerKind.VICTORIA_METRICS
        writer = DatabaseWriter(self._server, kind)
        if self._progress.durable_only_later:
            self._ask_for_restart()
        self._writer, self._connections_seen = writer, 0
        return writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _handle_failure(self, failure: WriteError, batch: Batch, unsure: Place) -> bool:
        """Makes the batch smaller or sets it aside, or raises the failure if only time can help."""
        # that a point of ours alone is too large is no database's word, and no fault of the point
        if failure.trouble in (WriteProblem.BAD_LINES, WriteProblem.TOO_LARGE) and not (
            failure.strange and batch.points == 1
        ):
            self._failures = 0
            if batch.points == 1 or (failure.trouble is WriteProblem.BAD_LINES and failure.dropped == batch.points):
                if failure.trouble is WriteProblem.TOO_LARGE:
                    self._ceiling = self._pace.batch_points_max  # it was this one point, not the number of them
                self._set_aside(batch, failure.words)
                return True
            self._limit = batch.points // 2
            if failure.trouble is WriteProblem.TOO_LARGE:
                self._ceiling = self._limit
                self._progress.take_back(unsure)
            return True
        if failure.trouble is WriteProblem.UNSURE:
            self._limit = max(min(SMALL_BATCH_POINTS, self._limit), batch.points // 2)
        else:
            self._progress.take_back(unsure)
        raise failure

    def _set_aside(self, batch: Batch, words: str) -> None:
        try:
            self._refused.add(batch.data, words)
        except OSError as error:
            log.warning("telemetry to %s: %s cannot be written: %s", self.label, self._refused.path, error)
        self._progress.refused(batch)
        self._refused_untold += batch.points
        now = time.monotonic()
        if now - self._refused_told_at >= REFUSED_LOG_S:
            log.warning(
                "telemetry to %s: %d points refused, set aside in %s: %s",
                *(self.label, self._refused_untold, self._refused.path, words),
            )
            self._refused_told_at, self._refused_untold = now, 0

    def _is_slow(self, how: str) -> None:
        """An answer that is still waited for. Told to who looks; the log is told how it ends."""
        if self._trouble is None:
            self._progress.note_trouble(how)

    def _note_trouble(self, failure: WriteError) -> None:
        """One line when trouble begins or becomes another; not one for each try."""
        self._failures += 1
        self._was_away |= failure.trouble is WriteProblem.NOTHING_ARRIVED or failure.cause == BROKEN_OFF
        if self._trouble is None:
            self._trouble_since = time.monotonic()
            self._delivered = 0
        if self._trouble is None or self._trouble.cause != failure.cause:
            log.warning("telemetry to %s waits in the spool: %s", self.label, failure)
        self._trouble = failure
        self._progress.note_trouble(str(failure))
        if failure.trouble is WriteProblem.SETTINGS:
            self._close_writer()  # another server may be there when it is mended: ask again what it is

    def _tell_recovery(self) -> None:
        if self._trouble is not None and self._delivered:
            took_s = time.monotonic() - self._trouble_since
            log.info("telemetry to %s: %d points delivered after %.0f s", self.label, self._delivered, took_s)
            self._trouble = None
            self._progress.note_trouble("")

    def _delay_s(self) -> float:
        """How long to leave the server alone."""
        trouble = self._trouble
        if trouble is None:
            return 0.0
        if trouble.trouble is WriteProblem.SETTINGS and trouble.cause != CLOCK:  # clocks are mostly set by programs
            return self._pace.settings_retry_s
        wanted_s = min(trouble.retry_after_s or 0.0, self._pace.retry_after_max_s)
        return max(wanted_s, self._pace.retry_s(self._failures))

    def _left_s(self) -> float:
        return self._stop_at - time.monotonic()

    def _watch_durability(self, writer: DatabaseWriter) -> None:
        """VictoriaMetrics keeps what it accepts in memory for a while: if it started anew, that is sent again."""
        progress = self._progress
        if not progress.durable_only_later:
            return
        if (made := writer.connections_made) != self._connections_seen:
            restarted = self._ask_for_restart()
            self._connections_seen = made
            if restarted:
                return
        now, snapshot = time.monotonic(), progress.snapshot()
        if not self._durable_later or now - self._durable_later[-1][0] >= 1.0:
            self._durable_later.append((now, snapshot))
        while self._durable_later and now - self._durable_later[0][0] >= self._pace.durable_after_s:
            progress.durable_from(self._durable_later.popleft()[1])

    def _ask_for_restart(self) -> bool:
        """Goes back to what was surely on the server's disk if it has started anew. Returns whether it has."""
        state = look_at_victoria_metrics(self._server)
        start, self._keeps_ns = state.start, state.keeps_ns
        # It tells of its start in whole seconds: of one that is young, two starts cannot be told apart.
        young = not start or time.time() - float(start) < self._pace.durable_after_s
        forgotten = self._progress.server_started(start, anew=self._was_away and young)
        self._was_away = False
        if forgotten:
            self._durable_later.clear()
            log.info("telemetry to %s: it was restarted, so the last %d points are sent again", self.label, forgotten)
        return forgotten > 0

    def _is_sent_away(self) -> bool:
        """The server asked for patience, or a person must mend something: no last try then."""
        return self._trouble is not None and self._trouble.trouble in (WriteProblem.BUSY, WriteProblem.SETTINGS)
