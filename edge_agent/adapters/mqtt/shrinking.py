"""Messages in fewer words, for a broker that takes no larger ones. What was left out is said in them.

Only what is worth something when cut is cut: a request to a peer is not, since a proposal on half a prompt is none.
"""

from __future__ import annotations

from dataclasses import replace

from edge_agent.core.messages import Answer, Message, ProposalResponse, ViewExchange
from edge_agent.core.sizes import cut_to_bytes, without_records
from edge_agent.core.states import ItemOutcome, Outcome
from edge_agent.wire.codec import encode

_CUT = "cut: the broker takes messages of at most {limit:,} bytes"


def shrink(message: Message, bytes_max: int, body_id: str = "") -> bytes | None:
    """Returns a body of at most `bytes_max` bytes that says as much of `message` as fits, `None` if nothing does."""
    match message:
        case Answer():
            return _cut_answer(message, bytes_max, body_id)
        case ProposalResponse():
            detail = _said(message.detail, bytes_max)
            body = _cut_text(replace(message, detail=detail), bytes_max, body_id)
            if body is None:
                failed = replace(message, outcome=ItemOutcome.FAILED, text="", detail=_CUT.format(limit=bytes_max))
                body = _if_fits(failed, bytes_max, body_id)
            return body
        case ViewExchange(entries=entries):
            while len(entries) > 1:
                entries = entries[: len(entries) // 2]  # the sender itself stands first
                if (body := _if_fits(replace(message, entries=entries), bytes_max, body_id)) is not None:
                    return body
    return None


def _cut_answer(answer: Answer, bytes_max: int, body_id: str) -> bytes | None:
    told = replace(answer, detail=_said(answer.detail, bytes_max))
    bare = without_records(told.provenance)  # who took part is worth less than the text
    for candidate in (told, replace(told, provenance=bare)):
        if (body := _cut_text(candidate, bytes_max, body_id)) is not None:
            return body
    failed = replace(told, outcome=Outcome.FAILED, text="", detail=_CUT.format(limit=bytes_max), provenance=bare)
    return _if_fits(failed, bytes_max, body_id)


def _cut_text(message: Answer | ProposalResponse, bytes_max: int, body_id: str) -> bytes | None:
    """Returns a body with as much of the text as fits, `None` if that is none of it. Where there is none, as with a
    prompt that expired, the message stays what it is."""
    if not message.text:
        return _if_fits(message, bytes_max, body_id)
    best: bytes | None = None
    fits, too_many = 0, len(message.text.encode()) + 1  # bytes of text; what JSON makes of them is seen by trying
    while too_many - fits > 1:
        keep = (fits + too_many) // 2
        body = _if_fits(replace(message, text=cut_to_bytes(message.text, keep)), bytes_max, body_id)
        if body is None:
            too_many = keep
        else:
            best, fits = body, keep
    return best


def _if_fits(message: Message, bytes_max: int, body_id: str) -> bytes | None:
    body = encode(message, body_id)
    return body if len(body) <= bytes_max else None


def _said(detail: str, bytes_max: int) -> str:
    cut = _CUT.format(limit=bytes_max)
    return f"{detail}; {cut}" if detail else cut
