"""When a layer has enough responses."""

from __future__ import annotations

from typing import Protocol

from edge_agent.core.messages import FANOUT_MAX
from edge_agent.core.policies.arguments import parse_count


class Join(Protocol):
    """Decides when a layer is joined. The layer deadline bounds every join, whatever is decided here."""

    def is_joined(self, joined: int, outstanding: int, wanted: int | None) -> bool:
        """Returns whether the layer may go on.

        Args:
            joined: responses there.
            outstanding: responses that may still come.
            wanted: the user's own number for this prompt, if any.
        """
        ...


class WaitForAll:
    """Waits for every response that may still come: the paper's join."""

    def is_joined(self, joined: int, outstanding: int, wanted: int | None) -> bool:
        """Joined when nothing is outstanding, or the user's number is there."""
        return outstanding == 0 or (wanted is not None and joined >= wanted)


class Quorum:
    """Goes on with r responses. The rest are cancelled, so that devices drop what nobody waits for."""

    def __init__(self, responses: int) -> None:
        self._responses = responses

    @classmethod
    def from_argument(cls, argument: str) -> Quorum:
        """Takes r, a whole number."""
        return cls(parse_count(argument, what="r, the responses", example="quorum(2)", count_max=FANOUT_MAX + 1))

    def is_joined(self, joined: int, outstanding: int, wanted: int | None) -> bool:
        """Joined when r responses are there, or nothing is outstanding."""
        return outstanding == 0 or joined >= (self._responses if wanted is None else wanted)
