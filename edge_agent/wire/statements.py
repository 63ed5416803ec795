"""What exactly a device signs of what it says of itself."""

from __future__ import annotations

import struct
from dataclasses import fields

from edge_agent.core.messages import PeerEntry

_CONTEXT = "moamesh entry v1"  # no signature of anything else passes for one of an entry, nor the other way round


def statement(mesh: str, entry: PeerEntry) -> bytes:
    """Returns the bytes that `entry.proof` signs: a line for the context, the mesh, and every other field, in order.

    No text of a checked entry holds a line break, so no two entries have the same bytes; a new field is signed without
    anybody thinking of it. Numbers with a fraction are the sixteen hexadecimal digits of their IEEE 754 form.
    """
    values = [getattr(entry, one.name) for one in fields(PeerEntry) if one.name != "proof"]
    return "\n".join((_CONTEXT, mesh, *map(_line, values))).encode()


def _line(value: object) -> str:
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return "" if value is None else str(value)
