"""Takes a model's thoughts out of its text. Pure.

Models that reason write `<think> ... </think>` before their answer. Some templates write the opening mark, so that the
text begins within the thoughts. Servers may send thoughts as a field of their own.
"""

from __future__ import annotations

from typing import final

OPENING, CLOSING = "<think>", "</think>"
THOUGHTS_LENGTH_MAX = 256 * 1024  # characters that are kept: as much as of a text


@final
class Thoughts:
    """Push pieces of text, show what comes back, call `finish` after the last; `text` has the thoughts.

    Only thoughts that stand before the answer are taken for such: later on the mark may be what a user asked about.

    inside: the prompt has the opening mark already.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self.text = ""
        """What the model thought, within a bound."""
        self._held = ""
        self._inside = inside
        self._answering = False

    def add(self, thought: str) -> None:
        """Takes a thought that came as such."""
        self.text += thought[: THOUGHTS_LENGTH_MAX - len(self.text)]

    def push(self, piece: str) -> str:
        """Takes a piece of text; returns what of it is certainly no thought."""
        if self._answering:
            return piece
        self._held += piece
        if not self._inside:
            begin = self._held.lstrip()
            if OPENING.startswith(begin[: len(OPENING)]) and len(begin) < len(OPENING):
                return ""  # white space, or the beginning of a mark
            if not begin.startswith(OPENING):
                return self._answer(begin if self.text else self._held)
            self._inside, self._held = True, begin.removeprefix(OPENING)
        thought, closing, answer = self._held.partition(CLOSING)
        if closing:
            self.add(thought.strip())
            self._inside, self._held = False, ""
            return self._answer(answer.lstrip()) if answer.strip() else ""
        kept = len(CLOSING) - 1  # the mark may come in pieces
        self.add(self._held[:-kept])
        self._held = self._held[-kept:]
        return ""

    def finish(self) -> str:
        """Returns what was held back and is no thought; thoughts that were never closed stay thoughts."""
        held, self._held = self._held, ""
        if self._inside:
            self.add(held)
            return ""
        return held if held.strip() else ""

    def _answer(self, text: str) -> str:
        self._answering, self._held = True, ""
        return text
