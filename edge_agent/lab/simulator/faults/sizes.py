"""How large messages are on the wire, by the real codec, and which limits they meet."""

from __future__ import annotations

import random

from edge_agent.core.messages import Message, Prompt, ProposalRequest, ProposalResponse
from edge_agent.core.sizes import size_of
from edge_agent.wire.codec import BODY_BYTES_MAX, encode

PACKET_OVERHEAD = 512  # bytes a packet may take beside its body: topic, correlation data, properties
_SMALL = 8 * 1024  # text of fewer bytes cannot make a body that meets any limit, even if every character is escaped

_PROMPT_BYTES_MAX = 128 * 1024
_LENGTHS = (10, 500, 4_000, 16_000, 32_768, 40_000)  # of texts, in bytes; responses are cut at 32 KiB
_CHARACTERS = ("a", "a", "a", '"', "é", "\x01")  # of 1 byte, of 2 once escaped, of 2, of 6 once escaped


def body_size(message: Message, body_id: str = "") -> int:
    """Returns the bytes of a message's body; 0 for one that is small whatever it holds."""
    if isinstance(message, ProposalRequest):
        text_bytes = size_of(message.messages, message.references)
    elif isinstance(message, ProposalResponse):
        text_bytes = size_of((), (message.text,))
    elif isinstance(message, Prompt):
        text_bytes = size_of(message.messages)
    else:
        return 0
    return 0 if text_bytes < _SMALL else len(encode(message, body_id))


def is_too_large(size: int, packet_bytes_max: int | None) -> bool:
    """Whether a body is over a limit: the broker's for packets, or what every receiver takes."""
    return size > BODY_BYTES_MAX or (packet_bytes_max is not None and size + PACKET_OVERHEAD > packet_bytes_max)


def message_room(packet_bytes_max: int | None) -> int | None:
    """Returns what a device learns of its broker's limit: what is left for topic and body; `None` if it names none."""
    return None if packet_bytes_max is None else packet_bytes_max - PACKET_OVERHEAD


def draw_text(rng: random.Random) -> str:
    """Returns a text such as a model might write, from a word to more than is taken."""
    character = rng.choice(_CHARACTERS)
    return character * (rng.choice(_LENGTHS) // len(character.encode()))


def draw_prompt(rng: random.Random) -> str:
    """Returns a text such as a user might send, up to the 128 KiB that are taken."""
    text = draw_text(rng)
    return text * rng.choice((1, 1, 1, 3)) if len(text.encode()) * 3 <= _PROMPT_BYTES_MAX else text
