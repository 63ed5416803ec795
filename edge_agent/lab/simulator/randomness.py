"""Random streams, each with a name: a draw more in one does not shift the draws of another."""

from __future__ import annotations

import random
from hashlib import blake2b


def stream(seed: int, name: str) -> random.Random:
    """Returns the stream of that name under a seed: the same in every process and under every PYTHONHASHSEED."""
    digest = blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - must repeat, and hides nothing
