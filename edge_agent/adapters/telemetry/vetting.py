"""What of a batch may be sent: a database that answers "204" to everything must never be given what it cannot keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from edge_agent.adapters.telemetry.batch import Batch
from edge_agent.wire.line_protocol import is_sendable

DAMAGED = "not sent: this is no point of ours; the disk, a power cut or an older version left it so"


@final
@dataclass(frozen=True, slots=True)
class Lot:
    """The first lines of a batch that have one fate. `aside`: why they are not to be sent; "" if they are."""

    batch: Batch
    aside: str


def first_lot(batch: Batch) -> Lot:
    """Returns the longest beginning of a batch, at least one line, that is to be sent or set aside as a whole."""
    lines = batch.data.split(b"\n")[:-1]
    aside = _why_aside(lines[0])
    count = next((at for at, line in enumerate(lines) if _why_aside(line) != aside), len(lines))
    data = batch.data if count == len(lines) else b"".join(line + b"\n" for line in lines[:count])
    return Lot(replace(batch, data=data), aside)


def _why_aside(line: bytes) -> str:
    return "" if is_sendable(line) else DAMAGED
