"""Waiting for something to happen, with a bound and without guessing how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tests.support.patience import PATIENCE_S


async def until(condition: Callable[[], bool], what: str, wait_s: float = PATIENCE_S) -> None:
    """Polls until `condition` holds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while not condition():  # noqa: ASYNC110 -- waits for many unlike things, none an asyncio.Event
                await asyncio.sleep(0.01)
            return
    raise AssertionError(f"did not happen in {wait_s} s: {what}")
