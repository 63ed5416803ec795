"""What a gateway is told when it starts, and every bound of it, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from edge_agent.client import Access

STATIC_DIR = Path(__file__).parent / "static"  # the app, put there by `make app`

REQUESTS_MAX = 128  # prompts open at once: four devices with full queues; more would only wait here
CALLER_SHARE = 0.25  # as at a device: four at once have all they ask for, one alone has three quarters
BODY_BYTES_MAX = 1024 * 1024  # a prompt may take 128 KiB at a device; JSON escapes may make eight times that of it
BODY_TIMEOUT_S = 30.0  # for a body to arrive whole: who sends slower holds a connection for nothing
HEADERS_MAX = 100  # of one request; browsers and SDKs send about 20
HEADER_BYTES_MAX = 32 * 1024  # of one request's head
CONNECTIONS_MAX = 1024  # sockets of one process; beyond it the server says 503 by itself
SEND_TIMEOUT_S = 60.0  # a reader that takes nothing for so long is gone, whatever its socket says
HEARTBEAT_S = 10.0  # silence after which a stream says that it lives: proxies cut silent ones after 30 s or more
STOP_TIMEOUT_S = 30.0  # for answers under way when the gateway is told to stop
LINGER_S = 60.0  # how long a prompt with an Idempotency-Key goes on without anybody waiting for it


@final
@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How a gateway runs.

    broker, mesh, access: the mesh it is a user of.
    device_id: the only device it asks; None: the caller's choice, or the one with the smallest expected wait.
    host, port: where it listens; port 0 takes a free one.
    keys_file: API keys; the file need not exist.
    open: lets everybody in who can connect, also from other hosts, while there are no keys.
    cert_file, key_file: HTTPS (PEM); both or none.
    cors_origins: web pages elsewhere that may call the API.
    web_broker: where the app reaches the broker (ws:// or wss://); "": nowhere that is known.
    app_dir: the app's files.
    caller_share: of `requests_max` and of `CONNECTIONS_MAX`, what each API key (without keys each address) may have at
        any time, and what is kept free for others from those who have more.
    """

    broker: str
    mesh: str
    keys_file: Path
    access: Access = field(default_factory=Access)
    device_id: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    open: bool = False
    cert_file: Path | None = None
    key_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    web_broker: str = ""
    app_dir: Path = STATIC_DIR
    requests_max: int = REQUESTS_MAX
    caller_share: float = CALLER_SHARE
    stop_timeout_s: float = STOP_TIMEOUT_S
    linger_s: float = LINGER_S
    heartbeat_s: float = HEARTBEAT_S

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.cert_file is not None else "http"
