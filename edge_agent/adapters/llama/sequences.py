"""Which sequence of the cache a request gets: pure bookkeeping, no llama.cpp.

Each sequence holds the tokens that were computed for it last, a chat's prompt and answer. The chat's next turn begins
with them and is given the same sequence: only what is new has to be read in. Where nothing fits, the sequence that was
used longest ago gives way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

REUSED_SHARE_MIN = 0.9  # of what a sequence holds: a next turn goes on with all of it, or with all but the end of the
# answer; for the words that all prompts of a template begin with, no chat gives up its own


@final
@dataclass(slots=True)
class CachedSequence:
    """A sequence of the cache and the tokens that it holds, at positions 0, 1, ..."""

    number: int
    tokens: list[int] = field(default_factory=list)
    used_at: int = 0
    """By the count of requests: the lowest is the least recently used."""


@final
class Sequences:
    """All of a context's sequences, free or taken."""

    def __init__(self, count: int) -> None:
        self._free = [CachedSequence(number) for number in range(count)]
        self._requests = 0

    @property
    def free(self) -> int:
        """How many can be taken."""
        return len(self._free)

    def take(self, prompt: Sequence[int], *, afresh: bool = False) -> tuple[CachedSequence, int]:
        """Takes a free sequence for a prompt; returns it with how many of its tokens are the prompt's first ones.

        At least the last token of the prompt is left to be computed, for what follows it is asked of it. `afresh`:
        nothing is to be reused.
        """
        self._requests += 1
        chosen = min(self._free, key=lambda one: (bool(one.tokens), one.used_at))  # an empty one, or the oldest
        kept = 0 if afresh else _common(chosen.tokens, prompt)
        if not afresh:
            for one in self._free:
                common = _common(one.tokens, prompt)
                if common > kept and common >= REUSED_SHARE_MIN * len(one.tokens):
                    chosen, kept = one, common
        self._free.remove(chosen)
        chosen.used_at = self._requests
        return chosen, kept

    def clear(self) -> None:
        """All of them are free, and hold nothing any more."""
        for one in self._free:
            one.tokens.clear()

    def give_back(self, sequence: CachedSequence) -> None:
        """Its request has ended; what it holds stays for the next turn."""
        self._free.append(sequence)


def _common(held: Sequence[int], prompt: Sequence[int]) -> int:
    most = min(len(held), len(prompt) - 1)
    for place in range(most):
        if held[place] != prompt[place]:
            return place
    return max(most, 0)
