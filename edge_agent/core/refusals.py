"""Prompts that were refused of late, for users who did not hear it. In memory alone: a refusal binds nobody.

Each user has room of their own, so that nobody's flood of prompts pushes out what another was told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import PromptRefusal
from edge_agent.core.shares import is_anybody

HOLDERS_MAX = 64  # users remembered, the one refused longest ago goes first; with the next line 400 KiB at most
EACH_MAX = 16  # of one user: as many as a screen of them


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, whose prompt it was, and when."""

    refusal: PromptRefusal
    reply: ReplyRoute
    at: float


class Refusals:
    """The last ones of each user; where nobody has a name, of each client."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: OrderedDict[str, OrderedDict[tuple[str, str], Refused]] = OrderedDict()

    def add(self, refusal: PromptRefusal, reply: ReplyRoute, now: float) -> None:
        """Notes one; what is over a bound is forgotten, the oldest first."""
        own = self._of.setdefault(reply.holder, OrderedDict())
        self._of.move_to_end(reply.holder)
        key = (reply.client, refusal.prompt_id)
        own.pop(key, None)
        own[key] = Refused(refusal, reply, now)
        if len(own) > EACH_MAX:
            own.popitem(last=False)
        if len(self._of) > HOLDERS_MAX:  # clients can be invented: they go before who has a name
            nameless = (holder for holder in self._of if is_anybody(holder))
            del self._of[next(nameless, next(iter(self._of)))]

    def discard(self, prompt_id: str, reply: ReplyRoute) -> None:
        """The prompt was asked again, and accepted."""
        own = self._of.get(reply.holder)
        if own is not None:
            own.pop((reply.client, prompt_id), None)

    def of(self, principal: str) -> Iterator[Refused]:
        """Yields this user's, of all its clients, in no order."""
        for holder, own in self._of.items():
            if holder.startswith(f"{principal}/"):
                yield from own.values()
