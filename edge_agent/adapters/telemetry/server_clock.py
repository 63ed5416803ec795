"""What time it is at a database: by the `Date` of its answers, since a device may have no clock that is right."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import final

from edge_agent.adapters.telemetry.server import TelemetryServer, get, open_http

LOOK_AGAIN_NS = 600 * 10**9
"""Between two looks: clocks drift by less than a second in ten minutes, and a server may be set right or wrong."""


@final
class ServerClock:
    """Asks once in a while and goes on by a clock that nobody sets. For one thread."""

    def __init__(self, server: TelemetryServer, elapsed_ns: Callable[[], int]) -> None:
        self._server = server
        self._elapsed_ns = elapsed_ns
        self._looked_at_ns: int | None = None
        self._date_ns: int | None = None

    def now_ns(self) -> int | None:
        """Returns nanoseconds since 1970, right to about a second; `None` if the server does not say.

        Raises:
            TelemetryServerError: it is asked, and does not answer.
        """
        elapsed_ns = self._elapsed_ns()
        if self._looked_at_ns is None or elapsed_ns - self._looked_at_ns > LOOK_AGAIN_NS:
            self._date_ns = _date_ns(self._server)
            self._looked_at_ns = elapsed_ns
        return None if self._date_ns is None else self._date_ns + elapsed_ns - self._looked_at_ns

    def forget(self) -> None:
        """The server is asked again the next time."""
        self._looked_at_ns = None


def _date_ns(server: TelemetryServer) -> int | None:
    with open_http(server) as http:
        said = get(http, server, "/ping").headers.get("Date", "")
    try:
        return int(parsedate_to_datetime(said).timestamp()) * 10**9
    except (ValueError, TypeError, OverflowError):
        return None
