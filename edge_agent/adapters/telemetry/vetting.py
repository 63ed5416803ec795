"""What of a batch may be sent: a database that answers "204" to everything must never be given what it cannot keep.

Points in the future are kept away from every database: they would count among the points of a day that has not come, in
its five-minute figures, and as the newest of their device. VictoriaMetrics drops them in silence beyond two days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from edge_agent.adapters.telemetry.batch import Batch
from edge_agent.adapters.telemetry.clock import AHEAD_MAX_NS, EARLIEST_NS, say_span, say_time
from edge_agent.wire.line_protocol import is_sendable

DAMAGED = "not sent: not a valid point of moamesh; a disk error, a power cut or an older version may have left it"
NOT_SET = "not sent: this device's clock had not been set yet"
IN_THE_FUTURE = "not sent: in the future; this device's clock was wrong and has been set since"
TOO_OLD = "not sent: older than what the database keeps, which it would accept and silently drop"


@final
@dataclass(frozen=True, slots=True)
class Bounds:
    """Which times may be sent now. Nanoseconds since 1970.

    own_ns: what this device's clock says. server_ns: what the database's says, `None` if it does not.
    keeps_ns: how long a database that drops older points in silence keeps them; `None` if it does not drop, or say.
    """

    own_ns: int
    server_ns: int | None = None
    keeps_ns: int | None = None


@final
@dataclass(frozen=True, slots=True)
class VettedLines:
    """The first lines of a batch that have one fate.

    aside: why they are not to be sent; "" if they are. wait: whether nobody can say
    yet: the two clocks disagree about what is the future.
    """

    batch: Batch
    aside: str = ""
    wait: bool = False


def is_behind(bounds: Bounds) -> bool:
    """Whether this device's clock is so far behind the database's that its points are of another time."""
    return bounds.server_ns is not None and bounds.server_ns - bounds.own_ns > AHEAD_MAX_NS


def first_lot(batch: Batch, bounds: Bounds) -> VettedLines:
    """Returns the longest beginning of a batch, at least one line, that is to be sent, set aside or waited with."""
    lines = batch.data.split(b"\n")[:-1]
    aside, wait = _fate(lines[0], bounds)
    count = next((at for at, line in enumerate(lines) if at and _fate(line, bounds) != (aside, wait)), len(lines))
    data = batch.data if count == len(lines) else b"".join(line + b"\n" for line in lines[:count])
    return VettedLines(replace(batch, data=data), aside, wait)


def _fate(line: bytes, bounds: Bounds) -> tuple[str, bool]:
    """Why a line is set aside, or whether it must wait."""
    if not is_sendable(line):
        return DAMAGED, False
    time_ns = int(line.rpartition(b" ")[2])
    if time_ns < EARLIEST_NS:
        return NOT_SET, False
    own_ns = bounds.own_ns
    if time_ns > (bounds.server_ns if bounds.server_ns is not None else own_ns) + AHEAD_MAX_NS:
        return (IN_THE_FUTURE, False) if time_ns > own_ns + AHEAD_MAX_NS else ("", True)
    if bounds.keeps_ns is not None and time_ns < (bounds.server_ns or own_ns) - bounds.keeps_ns:
        return TOO_OLD, False
    return "", False


def apart(own_ns: int, server_ns: int) -> str:
    """Returns how far apart the two clocks are, and what to do."""
    span = say_span(abs(own_ns - server_ns))
    return (
        f"this device's clock is {span} {'ahead of' if own_ns > server_ns else 'behind'} the database's "
        f"({say_time(own_ns)} here, {say_time(server_ns)} there): set the one that is wrong (`timedatectl`)"
    )
