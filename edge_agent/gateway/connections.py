"""HTTP connections that are not held for nothing: uvicorn waits for a request's head for ever, this does not."""

from __future__ import annotations

import asyncio
from typing import final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 20.0  # for the head of a request to arrive whole; between requests uvicorn's own bound counts


@final
class BoundedProtocol(H11Protocol):
    """uvicorn's protocol on h11, which closes a connection whose request does not begin or does not get on."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """As asyncio's."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """As asyncio's."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio's."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # its head is here: what is slow now is not the client
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
