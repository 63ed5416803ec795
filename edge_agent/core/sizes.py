"""How large text is, in the bytes it takes on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.messages import ChatMessage


def size_of(messages: Sequence[ChatMessage], references: Sequence[str] = ()) -> int:
    """Returns the UTF-8 size in bytes of a chat and its references."""
    total = 0
    for message in messages:
        total += _bytes_of(message.content)
    for text in references:
        total += _bytes_of(text)
    return total


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def cut_to_bytes(text: str, bytes_max: int) -> str:
    """Returns `text`, or as much of its beginning as takes at most `bytes_max` bytes in UTF-8."""
    if 4 * len(text) <= bytes_max:  # four bytes is the longest character
        return text
    return text.encode()[:bytes_max].decode(errors="ignore")
