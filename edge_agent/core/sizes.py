"""How large text is, in the bytes it takes on the wire, and what to do where it is too large for a message.

Sizes add up: what a prompt can become in its last layer fits a message, because references are cut to the room that the
prompt leaves, the longest first. docs/PROTOCOL.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring

from edge_agent.core.aggregation import cut_references, keep_start
from edge_agent.core.messages import Answer, ChatMessage, Provenance

MESSAGE_OVERHEAD_BYTES = 2 * 1024  # a message beside its texts: names, ids of 128 and short texts of 256 characters
TURN_OVERHEAD_BYTES = 40  # `{"role":"assistant","content":""},`
RECORD_BYTES = 640  # a contribution, missing response, substitute or decision: its numbers, two names of 256 at most


def size_of(messages: Sequence[ChatMessage], references: Sequence[str] = ()) -> int:
    """Returns the UTF-8 size in bytes of a chat and its references."""
    total = 0
    for message in messages:
        total += _bytes_of(message.content)
    for text in references:
        total += _bytes_of(text)
    return total


def json_size(text: str) -> int:
    """Returns the bytes that `text` takes in a JSON string, without its quotes: what must be escaped takes more."""
    return _bytes_of(encode_basestring(text)) - 2


def chat_size(messages: Sequence[ChatMessage]) -> int:
    """Returns the bytes that a chat takes in a message."""
    return sum(json_size(message.content) + TURN_OVERHEAD_BYTES for message in messages)


def fit_references(
    messages: Sequence[ChatMessage], references: Sequence[str], message_bytes_max: int
) -> tuple[tuple[str, ...], int]:
    """Returns the references as far as they fit into a message beside the chat, and the bytes cut off."""
    room = message_bytes_max - MESSAGE_OVERHEAD_BYTES - chat_size(messages) - 3 * len(references)
    if sum(map(json_size, references)) <= room:
        return tuple(references), 0
    cut = cut_references(references, room, json_size)
    return cut.texts, cut.tokens_cut


def fit_text(text: str, text_bytes_max: int, message_bytes_max: int, overhead: int = MESSAGE_OVERHEAD_BYTES) -> str:
    """Returns `text`, or as much of its beginning as its own bound and a message with `overhead` beside it allow."""
    text = cut_to_bytes(text, text_bytes_max)
    room = max(0, message_bytes_max - overhead)
    if 6 * len(text) <= room or json_size(text) <= room:  # six bytes is the longest escape
        return text
    return keep_start(text, room, json_size)


def cut_to_bytes(text: str, bytes_max: int) -> str:
    """Returns `text`, or as much of its beginning as takes at most `bytes_max` bytes in UTF-8."""
    if 4 * len(text) <= bytes_max:  # four bytes is the longest character
        return text
    return text.encode()[:bytes_max].decode(errors="ignore")


def provenance_size(provenance: Provenance) -> int:
    """Returns the bytes that provenance takes in a message, at most."""
    records = sum(len(layer) for layer in provenance.layers) + len(provenance.substitutes) + len(provenance.missing)
    return MESSAGE_OVERHEAD_BYTES + RECORD_BYTES * (records + 2 * len(provenance.decisions) + 1)


def answer_size(answer: Answer) -> int:
    """Returns the bytes that an answer takes in memory and on disk, about."""
    return _bytes_of(answer.text) + provenance_size(answer.provenance)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
