"""What happened in a run, as a hash: two runs with the same one went the same way, event by event."""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import get_args

from edge_agent.core.effects import Effect
from edge_agent.core.events import Event

_EVENT_CODES = {kind: number for number, kind in enumerate(get_args(Event))}
_EFFECT_CODES = {kind: number for number, kind in enumerate(get_args(Effect))}
_HEAD = struct.Struct("<dIBB")
_BUFFER_BYTES = 1 << 16
_LINE_MAX = 2_000  # characters of a line in words: texts may be a hundred times as long, and say nothing


class Trace:
    """Hashes time, device, kind of event and kinds of effects of every event; with `texts`, keeps them in words too.

    Times are hashed to their last bit, so whatever changes a random draw or an order changes the hash.
    """

    __slots__ = ("_buffer", "_hash", "texts")

    def __init__(self, *, keep_texts: bool = False) -> None:
        self._hash = blake2b(digest_size=16)
        self._buffer = bytearray()
        self.texts: list[str] | None = [] if keep_texts else None

    def add(self, now: float, device: int, event: Event, effects: list[Effect]) -> None:
        """Takes one event and what came of it."""
        buffer = self._buffer
        buffer += _HEAD.pack(now, device, _EVENT_CODES[type(event)], len(effects) & 0xFF)
        for effect in effects:
            buffer.append(_EFFECT_CODES[type(effect)])
        if len(buffer) > _BUFFER_BYTES:
            self._hash.update(buffer)
            buffer.clear()
        if self.texts is not None:
            self.texts.append(_line(f"{now:12.6f} d{device} {event}"))
            self.texts += [_line(f"{'':12}      -> {effect}") for effect in effects]

    def note(self, now: float, text: str) -> None:
        """Keeps a line about what the simulation itself did, such as a fault."""
        if self.texts is not None:
            self.texts.append(f"{now:12.6f} ** {text}")

    def digest(self) -> str:
        """Returns the hash so far, 32 hexadecimal digits."""
        self._hash.update(self._buffer)
        self._buffer.clear()
        return self._hash.copy().hexdigest()


def _line(text: str) -> str:
    return text if len(text) <= _LINE_MAX else text[:_LINE_MAX] + "..."
