"""How large text is, in the bytes it takes on the wire, and what to do where it is too large for a message.

Sizes add up: what a prompt can become in its last layer fits a message, because references are cut to the room that the
prompt leaves, the longest first. docs/PROTOCOL.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from json.encoder import encode_basestring

from edge_agent.core.aggregation import cut_references, keep_start
from edge_agent.core.messages import Answer, ChatMessage, Contribution, Provenance

MESSAGE_OVERHEAD_BYTES = 2 * 1024  # a message beside its texts: names, ids of 128 and short texts of 256 characters
TURN_OVERHEAD_BYTES = 40  # `{"role":"assistant","content":""},`
LEFT_OUT = "who took part is left out"  # in an answer's detail
RECORD_BYTES = 320  # a contribution, missing response, substitute or decision beside its texts: names and numbers


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


def fit_answer(answer: Answer, text_bytes_max: int, message_bytes_max: int) -> Answer:
    """Returns an answer that fits into a message, the same one if it does. Its text is worth more than who took part:
    where not both fit, the records of its provenance are left out first, which its detail says."""
    records, bare = answer.provenance, without_records(answer.provenance)
    size = provenance_size(records)
    beside = fit_text(answer.text, text_bytes_max, message_bytes_max, size)
    alone = fit_text(answer.text, text_bytes_max, message_bytes_max, provenance_size(bare))
    if records == bare or (beside == alone and size <= message_bytes_max):
        return answer if beside == answer.text else replace(answer, text=beside)
    left_out = f"{LEFT_OUT}: the broker takes messages of at most {message_bytes_max:,} bytes"
    detail = f"{answer.detail}; {left_out}" if answer.detail else left_out
    return replace(answer, text=alone, detail=detail, provenance=bare)


def without_records(provenance: Provenance) -> Provenance:
    """Returns what provenance says of the whole, without the records of each part."""
    return replace(provenance, layers=(), aggregation=None, substitutes=(), missing=(), decisions=())


def provenance_size(provenance: Provenance) -> int:
    """Returns the bytes that provenance takes in a message, at most."""
    return MESSAGE_OVERHEAD_BYTES + sum(RECORD_BYTES + sum(map(json_size, texts)) for texts in _records(provenance))


def _records(provenance: Provenance) -> Iterator[tuple[str, ...]]:
    """The texts of each record."""
    for layer in provenance.layers:
        yield from map(_names, layer)
    if provenance.aggregation is not None:
        yield _names(provenance.aggregation)
    for substitute in provenance.substitutes:
        yield (substitute.device_id, substitute.instead_of, substitute.reason)
    for missing in provenance.missing:
        yield (missing.device_id, missing.reason)
    for decision in provenance.decisions:
        yield (decision.kind, decision.detail, *(f'{name}","' for name in decision.chosen))
        if decision.work is not None:
            yield _names(decision.work)


def _names(contribution: Contribution) -> tuple[str, ...]:
    return (contribution.device_id, contribution.model)


def answer_size(answer: Answer) -> int:
    """Returns the bytes that an answer takes on disk, at most; in memory it is about that."""
    return json_size(answer.text) + provenance_size(answer.provenance)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
