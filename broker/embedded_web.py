"""The web side of an embedded broker: a WebSockets listener for people with passwords, beside the open one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from broker.access import People
from broker.kinds import PASSWORDS, PEOPLE_ACL, WebListener
from broker.mosquitto_acl import password_acl, password_file
from broker.mosquitto_files import Change, write_folder
from edge_agent.wire.topics import ANY

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - whoever asks for it wants the network; the listener demands passwords
HINT = "no WebSockets broker here: install mosquitto (`apt install mosquitto`) and start again"
BUILT_WITHOUT = "Websockets support not available"  # mosquitto's own words
BUILT_WITHOUT_HINT = "this mosquitto was built without WebSockets: install another build of it and start again"


class WebSide:
    """Who may come in by WebSockets, as files in the broker's folder.

    Args:
        host: IPv4 address to listen on; 0.0.0.0 is every interface.
        people: everybody with a password; called again and again, in a thread.
        mesh: whose topics they may reach; `ANY` where the broker carries one mesh anyway.
    """

    def __init__(self, host: str, people: Callable[[], People], mesh: str = ANY) -> None:
        self.host = host
        self._people = people
        self._mesh = mesh

    def listener(self, port: int) -> WebListener:
        """Returns what the broker's configuration needs."""
        return WebListener(self.host, port)

    def url(self, port: int) -> str:
        """Returns where clients on this host connect."""
        return f"ws://{self.reached_at}:{port}"

    @property
    def reached_at(self) -> str:
        """The address by which this very host reaches it."""
        return "127.0.0.1" if self.host == ALL_INTERFACES else self.host

    def write(self, folder: Path) -> Change:
        """Brings the access files up to date; returns what a running broker must do about it.

        Raises:
            ValueError: a password hash is none.
            OSError: the folder cannot be written.
        """
        people = self._people()
        contents = {PEOPLE_ACL: password_acl(self._mesh, people).encode(), PASSWORDS: password_file(people).encode()}
        return write_folder(folder, contents, lambda name: name == PEOPLE_ACL)

    async def answers(self, port: int, timeout_s: float) -> bool:
        """Whether something listens there."""
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(self.reached_at, port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True
