"""The books of one database: its cursor on disk, what is held for it, and what became of every point.

At any time, and over any kill: written = sent + lost + refused + still in the spool.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from dataclasses import dataclass, replace
from typing import final

from edge_agent.adapters.telemetry.batch import Batch, HeldFiles, read_lines
from edge_agent.adapters.telemetry.cursor import Cursor, KeptCursor, begin_cursor, load_cursor, save_cursor
from edge_agent.adapters.telemetry.files import count_lines, line_begin
from edge_agent.adapters.telemetry.server import TelemetryServer
from edge_agent.adapters.telemetry.spool import Extent, Place, Spool

log = logging.getLogger(__name__)

NUMBER_MAX = 2**63  # above every file's number


@final
@dataclass(frozen=True, slots=True)
class ShippingFigures:
    """What became of one database's points since it was first configured. `spool_bytes` is what is not sent yet.

    sent: the database has said that it took them. lost: removed from the full spool before they could be sent.
    refused: set aside with the server's words.
    """

    points_written: int
    points_sent: int
    points_lost: int
    points_refused: int
    spool_points: int
    spool_bytes: int


def label_of(server: TelemetryServer) -> str:
    """Returns a database's short name for people and tags: `host:port/database`."""
    return f"{server.url.partition('://')[2]}/{server.database}"


def stem_of(owner: str, server: TelemetryServer) -> str:
    """Returns how the names of a database's own files begin: `<device>.<server>`; no two databases share one."""
    name = re.sub(r"[^a-z0-9]+", "-", label_of(server).lower()).strip("-")[:64]
    digest = hashlib.sha256("\n".join((server.url, server.database, server.org)).encode()).hexdigest()
    return f"{owner}.{name}-{digest[:6]}"


class ShippingProgress:
    """Gives out what is to be sent next, and keeps what became of it. Every method may be called from any thread.

    Attributes:
        durable_only_later: the server does not put what it accepts on its disk at once (VictoriaMetrics): points are
            copied before they are removed for as long as they may have to be sent again. Set it before `next_batch`.
    """

    def __init__(self, spool: Spool, server: TelemetryServer) -> None:
        self._spool = spool
        stem = stem_of(spool.owner, server)
        self.cursor_path = spool.folder / f"{stem}.cursor"
        self.refused_path = spool.folder / f"{stem}.refused"
        self._label = label_of(server)
        self._held = HeldFiles(spool.folder, stem)
        self._lock = threading.RLock()
        self._kept: KeptCursor | None = None
        self._abandoned = False
        self._unsaved = False
        self._oldest_kept = 0
        self._held_is_stale = False
        self.durable_only_later = False

    def begin(self) -> None:
        """Holds the cursor against the spool. To be called when that is open, before anything is appended to it.

        A power cut may have taken its end, or left other bytes there: once there is more again, nobody could tell that
        the cursor stands in the midst of something.
        """
        with self._lock:
            kept, extent = self._start(), self._spool.extent()
            if kept is None or extent is None:
                return
            cursor = self._fit(kept.cursor, extent)
            number, offset = cursor.place.number, cursor.place.offset
            if number in extent.firsts:
                path = self._spool.path(number)
                place = Place(number, line_begin(path, offset))
                passed = extent.firsts[number] + count_lines(path, offset)
                if (place, passed) != (cursor.place, cursor.passed):
                    cursor = _moved(cursor, place, passed)
            if cursor != kept.cursor:
                self._save(cursor)

    def next_batch(self, points_max: int, bytes_max: int) -> Batch | None:
        """Returns the next lines to send, noted on disk as perhaps sent; `None` if there are none.

        Raises:
            OSError: the spool cannot be read.
        """
        with self._lock:
            cursor = self._settle()
            if cursor is None:
                return None
            place = cursor.place
            if place.number in self._view().firsts:
                end = self._spool.size(place.number)
                data = read_lines(self._spool.path(place.number), place.offset, end, points_max, bytes_max)
            else:
                data = self._held.read(place, points_max, bytes_max)
            if not data:
                return None
            batch = Batch(place, data)
            self._save(cursor.unsure_to(batch.end))
            return batch

    def take_back(self, unsure: Place) -> None:
        """The last batch certainly did not arrive: what may have arrived before it reaches to `unsure`."""
        with self._lock:
            cursor = self._cursor()
            self._save(replace(cursor, unsure=max(cursor.place, unsure)))

    def unsure_place(self) -> Place:
        """Up to where points may have arrived; the very beginning before the spool is open."""
        with self._lock:
            kept = self._start()
            return kept.cursor.unsure if kept is not None else Place(0, 0)

    def sent(self, batch: Batch) -> None:
        """The database has taken a batch."""
        with self._lock:
            self._save(self._cursor().after_sent(batch.end, batch.points))

    def refused(self, batch: Batch) -> None:
        """A batch is set aside."""
        with self._lock:
            self._save(self._cursor().after_refused(batch.end, batch.points))

    def is_behind(self, bytes_max: int) -> bool:
        """Whether more than so many bytes are unsent."""
        with self._lock:
            view, place = self._view(), self._cursor().place
            if not view.firsts:
                return False
            return place.number < view.newest or self._spool.size(place.number) - place.offset > bytes_max

    def snapshot(self) -> Cursor:
        """Returns where the database is now, to be given to `durable_from` when that is surely on its disk."""
        with self._lock:
            return self._cursor()

    def durable_from(self, cursor: Cursor) -> None:
        """What the database had taken at that time is on its disk by now."""
        with self._lock:
            kept = self._kept_now()
            self._kept = replace(kept, durable=cursor)
            self._held.remove_before(cursor.place.number)

    def server_started(self, start: str, *, anew: bool = False) -> int:
        """The server runs since `start`, "" if it does not say; `anew`: it has started since it was last written to.

        Returns how many points it may have forgotten, which are then sent again.
        """
        with self._lock:
            kept = self._kept_now()
            forgotten = 0
            if anew or ("" not in (start, kept.server_start) and start != kept.server_start):
                forgotten = kept.cursor.sent - kept.durable.sent
                again = replace(kept.durable, unsure=max(kept.cursor.unsure, kept.cursor.place))
                kept = replace(kept, cursor=again)
            self._kept = replace(kept, server_start=start or kept.server_start)
            self._save(self._kept.cursor)
            return forgotten

    def before_removal(self, oldest_kept: int) -> None:
        """Holds back what may be in the database already, or may have to be sent to it again."""
        with self._lock:
            kept = self._start()
            if kept is None or self._abandoned:
                return
            start = kept.durable.place if self.durable_only_later else kept.cursor.place
            end = kept.cursor.unsure
            for number in self._view().firsts:
                if start.number <= number < oldest_kept and number <= end.number:
                    begin = start.offset if number == start.number else 0
                    stop = end.offset if number == end.number else self._spool.size(number)
                    try:
                        self._held.hold(self._spool, number, begin, stop)
                    except OSError as error:  # then they count as lost, even if they have arrived
                        log.warning("telemetry to %s: no room to hold points back: %s", self._label, error)
            self._oldest_kept = oldest_kept  # nothing more of what was not held may be sent

    def note_trouble(self, trouble: str) -> None:
        """Keeps, for people, why points are waiting; "" if nothing is wrong any more."""
        with self._lock:
            kept = self._start()
            if kept is not None and kept.trouble != trouble:
                self._kept = replace(kept, trouble=trouble)
                self._save(kept.cursor)

    def trouble(self) -> str:
        """Returns why points are waiting, in one line; "" if nothing is wrong or nobody knows."""
        with self._lock:
            kept = self._start()
            return kept.trouble if kept is not None else ""

    def figures(self) -> ShippingFigures | None:
        """Returns what became of the points so far; `None` before the spool has been opened."""
        with self._lock:
            extent, kept = self._spool.extent(), self._start()
            if extent is None or kept is None:
                return None
            cursor = self._fit(kept.cursor, extent)
            held_points, held_bytes = 0, 0
            if cursor.place.number not in extent.firsts:
                held_points, held_bytes = self._held.points_after(cursor.place), self._held.bytes_after(cursor.place)
            gone = max(0, extent.firsts[extent.oldest] - cursor.passed - held_points)
            sizes = {number: self._spool.size(number) for number in extent.firsts if number >= cursor.place.number}
            passed_bytes = cursor.place.offset if cursor.place.number in sizes else 0
            return ShippingFigures(
                points_written=extent.written - cursor.begun,
                points_sent=cursor.sent,
                points_lost=cursor.lost + gone,
                points_refused=cursor.refused,
                spool_points=max(0, extent.written - cursor.passed - gone),
                spool_bytes=max(0, sum(sizes.values()) - passed_bytes) + held_bytes,
            )

    def abandon(self) -> None:
        """From now on nothing is noted any more: another may take over the files."""
        with self._lock:
            self._abandoned = True

    def _view(self) -> Extent:
        """What may be read: without the files that are about to be removed."""
        extent = self._spool.extent()
        if extent is None:
            raise OSError("the spool is not open")
        firsts = {number: first for number, first in extent.firsts.items() if number >= self._oldest_kept}
        return replace(extent, firsts=firsts)

    def _kept_now(self) -> KeptCursor:
        kept = self._start()
        if kept is None:
            raise OSError("the spool is not open")
        return kept

    def _cursor(self) -> Cursor:
        return self._kept_now().cursor

    def _start(self) -> KeptCursor | None:
        """Loads the cursor once the spool is open, or begins one."""
        extent = self._spool.extent()
        if self._kept is None and extent is not None:
            kept = load_cursor(self.cursor_path)
            if kept is None or kept.spool != extent.name:
                if kept is None and self.cursor_path.exists():
                    log.warning("%s is damaged: everything in the spool is sent again", self.cursor_path)
                self._held_is_stale = True
                cursor = begin_cursor(extent)
                kept = KeptCursor(extent.name, cursor, cursor, kept.server_start if kept is not None else "")
            self.durable_only_later |= kept.server_start != ""
            self._kept = kept
        return self._kept

    def _settle(self) -> Cursor | None:
        """Moves the cursor on from the end of a file, or over one that is gone; counts what was lost with it."""
        kept = self._start()
        if kept is None:
            return None
        if self._held_is_stale:  # of a spool or cursor that is no more
            self._held.remove_before(NUMBER_MAX)
            self._held_is_stale = False
        extent = self._view()
        if not extent.firsts:  # the next file is about to be begun, and the only one removed
            return None
        cursor = self._fit(kept.cursor, extent)
        while not self._has_more(cursor.place, extent):
            if cursor.place.number == extent.newest:
                break
            following = self._following(cursor.place.number, extent)
            lost = max(0, extent.firsts[following.number] - cursor.passed) if following.number in extent.firsts else 0
            if lost:
                log.warning("telemetry to %s: the spool is full, %d points were removed unsent", self._label, lost)
            cursor = cursor.after_lost(following, lost)
            if not self.durable_only_later:
                self._held.remove_before(following.number)
        if cursor != kept.cursor:
            self._save(cursor)
        return cursor

    def _fit(self, cursor: Cursor, extent: Extent) -> Cursor:
        """Brings a cursor back into a spool that lost its end: a power cut, or somebody removed files."""
        place = cursor.place
        if place.number > extent.newest:
            return _moved(cursor, Place(extent.oldest, 0), extent.firsts[extent.oldest])
        if place.number == extent.newest and place.offset > extent.newest_size:
            passed = extent.firsts[place.number] + count_lines(self._spool.path(place.number), extent.newest_size)
            return _moved(cursor, Place(place.number, extent.newest_size), passed)
        return cursor

    def _has_more(self, place: Place, extent: Extent) -> bool:
        if place.number in extent.firsts:
            return place.offset < self._spool.size(place.number)
        held = self._held.extent(place.number)
        return held is not None and held[0] <= place.offset < held[1]

    def _following(self, number: int, extent: Extent) -> Place:
        """The beginning of the next file that is there, or of what is held of one."""
        there = [Place(one, 0) for one in extent.firsts if one > number]
        for one in self._held.numbers():
            held = self._held.extent(one)
            if held is not None and one > number and one not in extent.firsts:
                there.append(Place(one, held[0]))
        return min(there)

    def _save(self, cursor: Cursor) -> None:
        """Keeps a cursor. If the disk refuses, it is kept in memory: a kill would then send the same points again."""
        if self._abandoned:
            return
        kept = replace(self._kept_now(), cursor=cursor)
        if not self.durable_only_later:
            kept = replace(kept, durable=cursor)
        self._kept = kept
        try:
            save_cursor(self.cursor_path, kept)
            self._unsaved = False
        except OSError as error:
            if not self._unsaved:
                log.warning("telemetry to %s: %s cannot be written: %s", self._label, self.cursor_path, error)
            self._unsaved = True


def _moved(cursor: Cursor, place: Place, passed: int) -> Cursor:
    """The cursor in a spool that counts anew from an earlier point: what became of the points before stays counted."""
    return replace(cursor, place=place, passed=passed, unsure=place, begun=cursor.begun + passed - cursor.passed)
