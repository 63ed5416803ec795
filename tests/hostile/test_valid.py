"""What the strangers say is valid, or little of it would get past the codec; a new field of a message is found here."""

from __future__ import annotations

import random

import pytest

from edge_agent.wire.codec import TYPE_NAMES, decode, encode
from tests.hostile import valid


@pytest.mark.parametrize("kind", valid.KINDS, ids=lambda kind: TYPE_NAMES[kind])
def test_every_message_made_is_valid(kind: type) -> None:
    rng = random.Random(1)
    for _ in range(200):
        message = valid.message(rng, kind)
        assert decode(encode(message)) == message
