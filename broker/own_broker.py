"""A broker that is a child of this process and follows its sources."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge_agent.children import Supervised
from edge_agent.tasks import ProblemListener, Started, log_only

_log = logging.getLogger(__name__)

FOLLOW_S = 0.25  # how soon a revocation or a new user is seen; a look reads a few small files


class OwnBroker(Started):
    """`async with broker: ...` runs it. Enter it in the main thread."""

    _child: Supervised | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._child is not None and self._child.running

    def log_tail(self) -> str:
        """Returns the last of what it logged, as one line."""
        return self._child.tail() if self._child is not None else ""


async def keep_following(
    follow: Callable[[], Awaitable[object]],
    what: str,
    *,
    pause_s: Callable[[], float],
    told: ProblemListener = log_only,
) -> None:
    """Calls `follow` again and again. Whatever it raises, the broker goes on with what it has: `what`.

    told: hears in one line that it came to nothing, once for each reason, and "" when all is well again.
    """
    said = ""
    while True:
        await asyncio.sleep(pause_s())
        try:
            await follow()
            if said:
                said = ""
                told("")
        except Exception as error:  # whatever a source raises
            if str(error) != said:  # once, not four times a second
                _log.error("the broker keeps using %s: %s", what, error)
                said = str(error)
                told(f"the broker keeps using {what}: {error}")
