"""The gateway of a local fleet: the API and the app, in a process of its own that ends with ours."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from broker.embedded import PORT_ATTEMPTS
from broker.loopback import free_port, port_is_free
from edge_agent.children import STOP_STILL_S, ChildStartError, Supervised
from edge_agent.fleet.device_process import child_environment
from edge_agent.runtime.gateway_child import says_it_lives

KEYS_FILE = "api-keys.json"
LOG_FILE = "gateway.log"
GRACE_S = STOP_STILL_S - 2.0  # for answers under way, before it tells the devices that nobody waits, and is killed


class GatewayStartError(Exception):
    """The gateway did not come up. One line with the last of its own words."""


class PortTakenError(GatewayStartError):
    """Somebody else listens there."""


class GatewayProcess:
    """Runs `moamesh gateway` as a user of the fleet's broker, and keeps it running.

    Args:
        folder: for its keys and its log.
        broker: URL of the fleet's broker on this host.
        host, port: where it listens; port 0 is one that is free when it starts.
        web_broker: where the app finds the broker; "" if nowhere.
    """

    def __init__(self, folder: Path, broker: str, mesh: str, *, host: str, port: int, web_broker: str) -> None:
        self.keys_file = folder / KEYS_FILE
        self.port = port
        self._host = host
        self._attempts = PORT_ATTEMPTS if port == 0 else 1
        self._log = folder / LOG_FILE
        self._arguments = [
            *("--broker", broker, "--mesh", mesh, "--host", host, "--keys-file", str(self.keys_file)),
            *("--stop-timeout", str(GRACE_S)),
            *(("--web-broker", web_broker) if web_broker else ()),
        ]
        self._child: Supervised | None = None

    @property
    def url(self) -> str:
        """Where this host reaches it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Starts it; returns when it answers.

        Raises:
            GatewayStartError: it did not.
        """
        for attempt in range(1, self._attempts + 1):
            if self._attempts > 1:
                self.port = free_port(self._host)
            try:
                await self._start_once()
            except PortTakenError:
                if attempt == self._attempts:
                    raise
            else:
                return

    async def stop(self) -> None:
        """Ends it. May be called at any time, also twice."""
        if self._child is not None:
            await self._child.stop()

    async def _start_once(self) -> None:
        if not port_is_free(self._host, self.port):  # else whoever has it would answer in its place
            raise PortTakenError(f"port {self.port} is taken")
        self._child = Supervised(
            "gateway",
            [*(sys.executable, "-m", "edge_agent.cli.main", "gateway"), *self._arguments, "--port", str(self.port)],
            self._log,
            lambda timeout_s: says_it_lives("127.0.0.1", self.port, timeout_s),
            environment=child_environment(),
        )
        try:
            await self._child.start()
        except ChildStartError as error:
            taken = os.strerror(errno.EADDRINUSE) in str(error)
            raise (PortTakenError if taken else GatewayStartError)(str(error)) from None
