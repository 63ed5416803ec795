"""What can still be read of a user's body that is no message: of what to tell its sender.

The topic says who sent it and so where to tell it. A body that is nearly JSON (another encoding, a raw line break,
single quotes, cut off, too large) still shows the id it was sent with, without which the sender of several prompts does
not know which of them was refused.
"""

from __future__ import annotations

import codecs
import re
from typing import final

_LOOKED_AT = 4096  # bytes at the beginning and at the end: the names stand beside the text, not within it
_NAME = r"""["']?\b{name}["']?\s{{0,8}}[:=]\s{{0,8}}["']([^"'\\\s]{{1,{length}}})["']"""
USER_IDS = ("query_id", "prompt_id", "id")
"""Where the id of a user's message stands, the surest first."""
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@final
class Salvage:
    """Looks into a body that could not be read."""

    def __init__(self, body: bytes) -> None:
        # the names sought are ASCII in all of them
        self._text = ends_of(body).decode(utf_16_of(body) or "latin-1", "replace")

    def text(self, name: str, length_max: int) -> str:
        """Returns the text that stands behind `name`, "" if none does."""
        found = re.search(_NAME.format(name=name, length=length_max), self._text)
        return found[1] if found and found[1].isprintable() else ""

    def message_id(self, length_max: int) -> str:
        """Returns the id by which a user knows what it sent; a query may name a prompt beside its own."""
        return next(filter(None, (self.text(name, length_max) for name in USER_IDS)), "")


def ends_of(body: bytes) -> bytes:
    """Returns as much of a body as is ever looked into, where it is too large to be read."""
    return body if len(body) <= 2 * _LOOKED_AT else body[:_LOOKED_AT] + body[-_LOOKED_AT:]


def utf_16_of(body: bytes) -> str:
    """Returns which UTF-16 a body is in, by its mark or by the zero beside its first character; "" if it is not."""
    if body[:2] in _UTF_16:
        return _UTF_16[body[:2]]
    if len(body) >= 4 and body[0] and not body[1] and body[2] and not body[3]:
        return "utf-16-le"
    if len(body) >= 4 and not body[0] and body[1] and not body[2] and body[3]:
        return "utf-16-be"
    return ""
