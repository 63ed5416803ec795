"""Tells systemd that the agent is ready and alive, where systemd started it: a datagram to the socket it names.

The protocol is sd_notify(3)'s. Without `NOTIFY_SOCKET` in the environment nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import final

from edge_agent.core.health import Problem
from edge_agent.tasks import TaskSupervisor

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE = "WATCHDOG_PID"
_SIGNS_PER_WATCHDOG = 3  # one may come late, the second still is in time


@final
class ServiceManager:
    """The agent's line to systemd.

    Args:
        environment: where systemd left its address, usually `os.environ`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get(SOCKET_VARIABLE, "")
        if self._address.startswith("@"):  # an abstract socket
            self._address = "\0" + self._address[1:]
        self._interval_s = _watchdog_s(environment) / _SIGNS_PER_WATCHDOG if self._address else 0.0
        self._tasks = TaskSupervisor("service manager")

    async def __aenter__(self) -> ServiceManager:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.stop()

    def ready(self) -> None:
        """Says that the agent has started, and from now on that its loop turns. Call it on the loop, once."""
        self._send("READY=1")
        if self._interval_s > 0.0:
            self._tasks.keep("signs of life", self._give_signs)

    def tell(self, problems: Sequence[Problem]) -> None:
        """Shows what is wrong in `systemctl status`, or that nothing is."""
        said = "; ".join(f"{problem.part}: {problem.detail}" for problem in problems)
        self._send(f"STATUS={said or 'all is well'}")

    def stopping(self) -> None:
        """Says that the agent stops. Signs of life go on until the loop ends: a slow stop is no hang."""
        self._send("STOPPING=1")

    async def _give_signs(self) -> None:
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._interval_s)

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # a full or lost socket must not stop the agent: systemd's own timeout then decides
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.setblocking(False)
            line.sendto(state.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The watchdog's time in seconds; 0 if there is none or it is another process's."""
    if environment.get(WATCHDOG_PID_VARIABLE, str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get(WATCHDOG_VARIABLE, "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0
