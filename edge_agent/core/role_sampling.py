"""How each proposer draws its tokens. A user's seed, temperature and stops are for the answer.

With one seed, or without any dice, k + 1 devices of one model would propose k + 1 times the same: Mixture-of-Agents
would be off. As a whole it stays reproducible: where the user gave a seed or wanted no dice, each proposer's seed
follows from that, its layer and its name.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from edge_agent.core.chat import Sampling

TEMPERATURE_MIN = Sampling().temperature  # of proposers, as in MoA (arXiv 2406.04692)
_SEED_BYTES = 4  # engines take 32 bits


def proposal_sampling(wish: Sampling, layer: int, device_id: str) -> Sampling:
    """Returns how a device samples its proposal of a layer (from 1), for a user who wishes `wish` of the answer."""
    seed = wish.seed
    if seed is not None or wish.temperature == 0.0:
        told = f"{seed or 0} {layer} {device_id}".encode()
        seed = int.from_bytes(blake2b(told, digest_size=_SEED_BYTES).digest())
    return replace(wish, temperature=max(wish.temperature, TEMPERATURE_MIN), seed=seed, stop=())
