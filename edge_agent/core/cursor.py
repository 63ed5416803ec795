"""Where a page of a list ends, as a text that only the device that wrote it reads: the next page goes on behind it.

A list is of one moment. What ran then keeps its place, also when it ends before its page is sent; what was asked since
stands on a new list. So a reader meets each prompt once. The text fits 256 characters with the longest names.
"""

from __future__ import annotations

import math
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass
from typing import TypeAlias

Place: TypeAlias = tuple[bool, float, str, str]
"""Where a prompt stands: whether it ran at the list's moment, since when it did or is over, its client and its id."""
_NUMBERS = struct.Struct(">?dd")


@dataclass(frozen=True, slots=True)
class Cursor:
    """`began`: the list's moment. `behind`: the next page has what stands before that place; `None` is all."""

    began: float
    behind: Place | None = None

    def written(self, run: str) -> str:
        """Returns the text, for the run of the device whose clock `began` is of."""
        if self.behind is None:
            return ""
        runs, at, client, prompt_id = self.behind
        numbers = urlsafe_b64encode(_NUMBERS.pack(runs, self.began, at)).decode()
        return f"{run}/{numbers}/{client}/{prompt_id}"


def read_cursor(text: str, run: str, now: float) -> Cursor | None:
    """Returns what `written` wrote; "" is the beginning of a list. `None`: another run wrote it, or nobody did."""
    if not text:
        return Cursor(now)
    if text.count("/") < 3 or not text.startswith(f"{run}/"):
        return None
    _, numbers, client, prompt_id = text.split("/", 3)
    try:
        runs, began, at = _NUMBERS.unpack(urlsafe_b64decode(numbers))
    except (Error, ValueError, struct.error):
        return None
    if not math.isfinite(began) or not math.isfinite(at):
        return None
    return Cursor(began, (runs, at, client, prompt_id))
