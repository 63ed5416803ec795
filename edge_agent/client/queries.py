"""What a client asks of a device about its own earlier prompts, until the page or the refusal comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from edge_agent.client.conversation import ClientSettings, NoReceiptError
from edge_agent.core.errors import MoameshError
from edge_agent.core.messages import AnswersPage, AnswersQuery, PromptRefusal

OPEN_MAX = 1_000  # of one client at a time: above the devices of a mesh, below what would matter in memory


class QueryRefusedError(MoameshError):
    """The device does not answer this query: the place to go on from is forgotten, or it is asked too much."""


class Queries:
    """Those under way. A query may be sent again, since nothing is changed by it."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._open: dict[tuple[str, str], asyncio.Future[AnswersPage]] = {}

    async def ask(self, device_id: str, query: AnswersQuery, send: Callable[[], Awaitable[bool]]) -> AnswersPage:
        """Sends a query, again where nothing comes back, and returns the page.

        Raises:
            QueryRefusedError: the device said no.
            NoReceiptError: it said nothing.
        """
        if len(self._open) >= OPEN_MAX:
            raise QueryRefusedError(f"{OPEN_MAX} queries of this client are open already")
        page = self._open[device_id, query.query_id] = asyncio.get_running_loop().create_future()
        try:
            for number in range(self._settings.sends_max):
                taken = await send()
                patience_s = self._settings.receipt_timeout_s * 2**number if taken else self._settings.resend_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        return await asyncio.shield(page)
            raise NoReceiptError(f"{device_id} does not respond: is it online? (`moamesh status` shows who is)")
        finally:
            del self._open[device_id, query.query_id]
            page.cancel()

    def take(self, device_id: str, message: AnswersPage | PromptRefusal) -> bool:
        """Takes what a device says; returns whether it was asked."""
        query_id = message.query_id if isinstance(message, AnswersPage) else message.prompt_id
        page = self._open.get((device_id, query_id))
        if page is None or page.done():
            return False
        if isinstance(message, AnswersPage):
            page.set_result(message)
        else:
            page.set_exception(QueryRefusedError(f"{device_id}: {message.detail}"))
        return True
