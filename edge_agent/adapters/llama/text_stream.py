"""Turns the bytes of tokens into text that can be shown at once: whole characters, up to the first stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Push the bytes of each token; show what comes back; call `finish` after the last one.

    Bytes of an unfinished character, and text that may be the start of a stop text, are held back until it is clear.
    White space before the first word is left out: base models begin their answers with it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        # "replace": a model may emit bytes that are no UTF-8 at all; they become U+FFFD instead of an error.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._begun = False
        self.stopped = False
        """A stop text came. It and what follows are not part of the text."""

    def push(self, piece: bytes) -> str:
        """Takes the bytes of one token; returns the text that is now certain, often ""."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        if not self._begun:
            self._held = self._held.lstrip()
            self._begun = bool(self._held)
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            certain, self._held = self._held[: min(found)], ""
            return certain
        certain_length = len(self._held) - self._doubtful_length()
        certain, self._held = self._held[:certain_length], self._held[certain_length:]
        return certain

    def finish(self) -> str:
        """Returns what was held back for a stop text that did not come. An unfinished character is left out."""
        rest, self._held = self._held, ""
        return rest

    def _doubtful_length(self) -> int:
        """Length of the longest end of the held text with which a stop text may begin."""
        longest_stop = max((len(stop) for stop in self._stops), default=0)
        for length in range(min(longest_stop - 1, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
