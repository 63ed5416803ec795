"""The gateway as a process: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import uvicorn

from edge_agent.core.errors import SettingsError
from edge_agent.gateway.app import make_app
from edge_agent.gateway.connections import BoundedProtocol
from edge_agent.gateway.inquiry import Inquiries
from edge_agent.gateway.keys import KeyRing
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import CONNECTIONS_MAX, HEADER_BYTES_MAX, GatewayOptions
from edge_agent.gateway.tls import ServerTls
from edge_agent.hosts import is_loopback
from edge_agent.tasks import TaskSupervisor, hear_callbacks

log = logging.getLogger(__name__)

TOLD_S = 3.0  # for clients to take the word that their answers are cancelled
KEEP_ALIVE_S = 15  # an idle connection is closed after so long: longer than the pause between two turns of a program


@final
@dataclass(frozen=True, slots=True)
class Listening:
    """Where a gateway listens, and whether it wants a key."""

    url: str
    key_needed: bool


def run_gateway(options: GatewayOptions, announce: Callable[[Listening], None]) -> None:
    """Runs a gateway until SIGTERM or SIGINT; `announce` is called once it listens.

    The first signal lets answers under way end, at most for `options.stop_timeout_s`; the second does not.

    Raises:
        SettingsError: it cannot listen there, may not without keys, or a file is missing or damaged.
    """
    keys = KeyRing(options.keys_file)
    _check_open(options, keys)
    tls = _tls(options)
    link = MeshLink(options)
    inquiries = Inquiries(link, options)
    with contextlib.closing(_listen(options)) as listener:
        url = f"{options.scheme}://{_shown(options)}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            make_app(options, keys, link, inquiries),
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody in front is trusted to say who asks
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(options.stop_timeout_s + TOLD_S),
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            ssl_context_factory=(lambda _config, _default: tls.context) if tls is not None else None,
        )
        server = _Server(config, inquiries, tls, options.stop_timeout_s, lambda: announce(Listening(url, keys.needed)))
        asyncio.run(server.serve([listener]))


@final
class _Server(uvicorn.Server):
    """uvicorn, but it says when it listens, and tells those whose answers it can wait for no longer."""

    def __init__(
        self,
        config: uvicorn.Config,
        inquiries: Inquiries,
        tls: ServerTls | None,
        stop_timeout_s: float,
        started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._inquiries = inquiries
        self._tls = tls
        self._tasks = TaskSupervisor("gateway")
        self._stop_timeout_s = stop_timeout_s
        self._announce = started
        self._closing = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        hear_callbacks(asyncio.get_running_loop())
        await super().startup(sockets)
        if self._tls is not None:
            self._tasks.keep("certificate", self._tls.follow)
        if self.started:
            self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal lets answers end, the second cancels them. Neither is raised again: it ended in order."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self._close()
        else:
            self.should_exit = True
            asyncio.get_running_loop().call_later(self._stop_timeout_s, self._close)

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._tasks.begin("closing", self._inquiries.close())


def _check_open(options: GatewayOptions, keys: KeyRing) -> None:
    if keys.needed or options.open or is_loopback(options.host):
        return
    raise SettingsError(
        f"there are no API keys in {options.keys_file}, and {options.host} can be reached by others: make one with "
        "`moamesh gateway key add NAME`, or listen on 127.0.0.1, or allow everybody with --open"
    )


def _listen(options: GatewayOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, address = found[0]
        # With the protocol named: else asyncio leaves out TCP_NODELAY, and each answer waits 40 ms for an ACK.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error} "
            "(--host and --port say where; port 0 takes a free one)"
        ) from None
    return listener


def _tls(options: GatewayOptions) -> ServerTls | None:
    if options.cert_file is None or options.key_file is None:
        return None
    return ServerTls(options.cert_file, options.key_file)


def _shown(options: GatewayOptions) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)  # noqa: S104 - shown, not bound
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
