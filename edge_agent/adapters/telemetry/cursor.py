"""How far one database has got with the spool: a small file beside it, replaced as a whole after each step."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from edge_agent.adapters.telemetry.spool import Extent, Place
from edge_agent.files import PUBLIC, read_file, write_atomically

CURSOR_BYTES_MAX = 64 * 1024  # some numbers and a line of trouble


@final
@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a database is in the spool, and what became of the points before.

    begun: points written to the spool before this cursor's first; not its business.
    place, passed: the next point to send, and how many points of the spool are before it.
    unsure: from `place` to here, points may have reached the server already: they were sent, and no answer came.
    sent, lost, refused: what became of the points from `begun` to `passed`.
    """

    begun: int
    place: Place
    passed: int
    unsure: Place
    sent: int = 0
    lost: int = 0
    refused: int = 0

    def after_sent(self, end: Place, points: int) -> Cursor:
        """The points up to `end` are in the database."""
        return replace(self._at(end, points), sent=self.sent + points)

    def after_refused(self, end: Place, points: int) -> Cursor:
        """The points up to `end` are set aside."""
        return replace(self._at(end, points), refused=self.refused + points)

    def after_lost(self, place: Place, points: int) -> Cursor:
        """The points before `place` were removed before they could be sent."""
        return replace(self._at(place, points), lost=self.lost + points)

    def unsure_to(self, end: Place) -> Cursor:
        """The points up to `end` are being sent."""
        return replace(self, unsure=max(self.unsure, end))

    def _at(self, place: Place, points: int) -> Cursor:
        return replace(self, place=place, passed=self.passed + points, unsure=max(self.unsure, place))


@final
@dataclass(frozen=True, slots=True)
class KeptCursor:
    """What is on disk for one database.

    spool: the name of the spool that it is a cursor in.
    cursor: as it is.
    durable: as it was when the server had surely put everything on its own disk; where to go back to if it restarts.
    server_start: what the server said of its own start, "" if nothing.
    trouble: why points are waiting, in one line; "" if nothing is wrong.
    """

    spool: str
    cursor: Cursor
    durable: Cursor
    server_start: str = ""
    trouble: str = ""


def begin_cursor(extent: Extent) -> Cursor:
    """Returns the cursor of a database that is new: it gets everything that the spool still holds."""
    first = extent.firsts[extent.oldest]
    place = Place(extent.oldest, 0)
    return Cursor(begun=first, place=place, passed=first, unsure=place)


def load_cursor(path: Path) -> KeptCursor | None:
    """Returns what is kept; `None` if there is nothing, or nothing that can be read (after a power cut)."""
    try:
        content = json.loads(read_file(path, CURSOR_BYTES_MAX))
        return KeptCursor(
            str(content["spool"]),
            _read(content["cursor"]),
            _read(content["durable"]),
            str(content["server_start"]),
            str(content.get("trouble", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def save_cursor(path: Path, kept: KeptCursor) -> None:
    """Keeps it over a kill. A power cut may bring an older one back: the same points are then sent again.

    Raises:
        OSError: it could not be written.
    """
    content = {
        "spool": kept.spool,
        "cursor": _say(kept.cursor),
        "durable": _say(kept.durable),
        "server_start": kept.server_start,
        "trouble": kept.trouble,
    }
    write_atomically(path, json.dumps(content).encode(), PUBLIC, durable=False)


def _say(cursor: Cursor) -> dict[str, object]:
    return {
        "begun": cursor.begun,
        "place": [cursor.place.number, cursor.place.offset],
        "passed": cursor.passed,
        "unsure": [cursor.unsure.number, cursor.unsure.offset],
        "sent": cursor.sent,
        "lost": cursor.lost,
        "refused": cursor.refused,
    }


def _read(content: dict[str, Any]) -> Cursor:
    return Cursor(
        begun=int(content["begun"]),
        place=_read_place(content["place"]),
        passed=int(content["passed"]),
        unsure=_read_place(content["unsure"]),
        sent=int(content["sent"]),
        lost=int(content["lost"]),
        refused=int(content["refused"]),
    )


def _read_place(content: list[Any]) -> Place:
    number, offset = content
    return Place(int(number), int(offset))
