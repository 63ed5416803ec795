"""Whether a user gets in by WebSockets: tried as the app does it, before anybody is sent a link."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

from broker.probe_client import ConnectRefusedError, Credentials, Endpoint, ProbeClient
from edge_agent.wire import client_ids

ADMITTED_WITHIN_S = 10.0  # a broker follows within a quarter of a second; a busy small machine takes longer
TRY_AGAIN_S = 0.05

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class NotAdmittedError(Exception):
    """A user did not get in. The message is one line with the broker's last word."""


def web_endpoint(url: str, ca: Path | None = None) -> Endpoint:
    """Returns where a ws:// or wss:// URL leads; `ca` is whom to trust there.

    Raises:
        ValueError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
        port = _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"must be ws://host:port or wss://host:port, not {url[:80]!r}") from None
    if not (port and parts.hostname and parts.scheme in _DEFAULT_PORTS) or "@" in parts.netloc:
        raise ValueError(f"must be ws://host:port or wss://host:port, not {url[:80]!r}")
    return Endpoint(parts.hostname, port, ca if parts.scheme == "wss" else None, websockets=True)


def try_login(endpoint: Endpoint, login: str, secret: str) -> None:
    """Connects as this user and leaves again; blocks for up to some seconds.

    Raises:
        ConnectRefusedError: the broker is not there, or does not let them in.
    """
    client_id = client_ids.unguessable(login)
    with ProbeClient(client_id, endpoint, Credentials(username=login, password=secret)):
        pass


async def until_admitted(endpoint: Endpoint, login: str, secret: str, within_s: float = ADMITTED_WITHIN_S) -> None:
    """Returns once the broker lets this user in.

    Raises:
        NotAdmittedError: it did not in time.
    """
    ends_at = time.monotonic() + within_s
    while True:
        try:
            return await asyncio.to_thread(try_login, endpoint, login, secret)
        except ConnectRefusedError as error:
            if time.monotonic() >= ends_at:
                raise NotAdmittedError(f"{login} cannot log in at {endpoint.host}:{endpoint.port}: {error}") from None
        await asyncio.sleep(TRY_AGAIN_S)
