"""A node of an ejabberd cluster as a supervised child: TLS with client certificates, rights from the topic table.

Nodes find each other by name and a shared secret, over one fixed port and without Erlang's port mapper. What they say
to each other is not encrypted: the port belongs into a private network.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from broker.access import People
from broker.ejabberd_config import EjabberdConfig
from broker.erlang import Erlang, NodeUnreachableError, is_open
from broker.following import FollowingBroker
from broker.health import TlsHealth
from broker.mosquitto_acl import password_file
from broker.mosquitto_config import Limits, Listeners
from broker.mosquitto_files import Change, ServerFiles, write_folder
from edge_agent.children import Supervised
from edge_agent.tasks import HealthSources, TaskSupervisor, log_only, unless

_log = logging.getLogger(__name__)

NODE_PORT = 5210
"""Where nodes talk to each other."""
ALONE_AFTER_S = 10.0  # a node waits so long for those it was last seen with, before it goes on without them
CLUSTER_CHECK_S = 15.0  # how often it looks for nodes that are there and not with it
COOKIE_BYTES = 24
_LIVE_PASSWORDS = "passwords.live"
"""What is asked at a login. It follows `passwords` once the rights are in force: nobody gets in before having any."""
_NODE = re.compile(r"[a-z0-9_-]{1,64}@[A-Za-z0-9.-]{1,253}")


@final
@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node.

    name: `NAME@HOST`; by HOST the other nodes reach it.
    peers: names of the other nodes, those that do not run yet included.
    cookie: the secret that all nodes share, in a file of one line.
    """

    folder: Path
    name: str
    mesh: str
    listeners: Listeners
    server: ServerFiles
    cookie: Path
    peers: tuple[str, ...] = ()
    node_port: int = NODE_PORT
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in (self.name, *self.peers):
            if _NODE.fullmatch(name) is None:
                raise ValueError(f"a node's name must be NAME@HOST, not {name[:80]!r}")
        if self.name in self.peers:
            raise ValueError(f"node {self.name} can't join itself")


def new_cookie() -> str:
    """Returns a secret for the nodes of a cluster."""
    return secrets.token_hex(COOKIE_BYTES)


class EjabberdNode(FollowingBroker):
    """Runs one node: `async with EjabberdNode(settings, people) as node: ...`. Enter it in the main thread.

    It joins whichever of its peers runs, and comes back to them after a crash, a partition or a restart.

    Args:
        people: who comes with a password; called again and again, in a thread.
        revoked: names of devices that are shut out; ejabberd reads no revocation list.

    Raises:
        RuntimeError: ejabberd is not installed.
    """

    def __init__(
        self,
        settings: NodeSettings,
        people: Callable[[], People] = People,
        revoked: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        if shutil.which("erl") is None or not (libraries := _libraries()):
            raise RuntimeError("ejabberd is not installed: `apt install ejabberd`")
        self._settings = settings
        self._people = people
        self._revoked = revoked
        folder = settings.folder
        self._erlang = Erlang(folder, settings.name, settings.node_port, libraries, lambda: self.pid)
        authenticator = (sys.executable, "-P", "-m", "broker.extauth", str(folder / _LIVE_PASSWORDS))
        self._config = EjabberdConfig(folder, settings.mesh, settings.listeners, authenticator, settings.limits)
        listeners = settings.listeners
        port = listeners.passwords or listeners.devices
        host = listeners.host if listeners.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared
        self._health = TlsHealth(host, port, folder / "ca.pem")
        child = Supervised(
            f"ejabberd {settings.name}",
            self._erlang.command(),
            folder / "node.log",
            self._health.answers,
            environment=self._erlang.environment(),
            helpers=lambda: self._erlang.calls,
        )
        super().__init__(child, HealthSources(log_only))
        self._together = TaskSupervisor(f"ejabberd {settings.name}")

    @property
    def port(self) -> int:
        """Where devices connect."""
        return self._settings.listeners.devices

    async def start(self) -> None:
        """Starts the node and joins whichever peers run; returns when clients are answered.

        Raises:
            BrokerFilesError: a certificate, key or revocation list is missing or broken.
            ChildStartError: it did not start.
            OSError: its folder cannot be written, or the cookie not be read.
        """
        await unless(super().start(), self._wake())
        await self._mend(joins=True)
        self._together.keep("keeping the nodes together", self._keep_together)

    async def stop(self) -> None:
        """Ends the node. May be called at any time, also twice."""
        await self._together.stop()
        await super().stop()

    async def kill(self) -> None:
        """Kills the node as a power cut would, and keeps it down until `start`."""
        await self._together.stop()
        await super().kill()

    async def running_nodes(self) -> tuple[str, ...]:
        """Returns the nodes that carry each other's messages, as this one sees it.

        Raises:
            NodeUnreachableError: it does not answer.
        """
        return await self._erlang.atoms("rpc:call(Node, mnesia, system_info, [running_db_nodes])")

    # --- files ------------------------------------------------------------------------------------------------------

    def _write(self) -> Change:
        people = self._people()
        pem = self._settings.server.read()
        contents = {
            "server-with-key.pem": pem["server.pem"] + pem["server.key"],
            "ca.pem": pem["ca.pem"],
            "crl.pem": pem["crl.pem"],  # not read by ejabberd; a new one means that sessions must be cut
            "passwords": password_file(people).encode(),
            "ejabberd.yml": self._config.text(people, self._revoked()).encode(),
            ".erlang.cookie": self._settings.cookie.read_bytes().strip(),
        }
        change = write_folder(self._settings.folder, contents, lambda name: name == "ejabberd.yml")
        if change is Change.RESTART or not self.running:  # else once the rights are in force
            self._let_log_in()
        return change

    def _let_log_in(self) -> None:
        live = self._settings.folder / _LIVE_PASSWORDS
        write_folder(live.parent, {live.name: (live.parent / "passwords").read_bytes()}, lambda _: True)

    async def _reload(self) -> None:
        await self._erlang.run("rpc:call(Node, ejabberd_admin, reload_config, [])")
        await asyncio.to_thread(self._let_log_in)

    # --- the cluster ------------------------------------------------------------------------------------------------

    async def _wake(self) -> None:
        """Erlang's database waits for the nodes it was last seen with. If none of them is there, go on without."""
        while True:
            await asyncio.sleep(ALONE_AFTER_S)
            if await self._open_peers():
                continue
            await self._try(
                "[rpc:call(Node, mnesia, force_load_table, [Table]) "
                "|| Table <- rpc:call(Node, mnesia, system_info, [local_tables]), Table =/= schema]"
            )

    async def _keep_together(self) -> None:
        while True:
            await asyncio.sleep(CLUSTER_CHECK_S)
            await self._mend(joins=False)

    async def _mend(self, *, joins: bool) -> None:
        """Brings this node and a peer that runs apart from it together again: the one with the greater name gives way.

        `joins` lets any node give way: it was started just now and has no sessions yet.
        """
        try:
            running = await self.running_nodes()
            known = await self._erlang.atoms("rpc:call(Node, mnesia, system_info, [db_nodes])")
        except NodeUnreachableError as error:
            _log.warning("node %s does not answer: %s", self._settings.name, error)
            return
        for peer in await self._open_peers():
            if peer in running:
                return
            if not (joins or self._settings.name > peer):
                continue
            _log.warning("node %s is not in one cluster with %s: joining it", self._settings.name, peer)
            if peer in known:
                await self._program.restart()
            else:
                await self._try(f'rpc:call(Node, ejabberd_admin, join_cluster, [<<"{peer}">>])')
            return

    async def _open_peers(self) -> list[str]:
        found = [await is_open(peer.partition("@")[2], self._settings.node_port) for peer in self._settings.peers]
        return [peer for peer, there in zip(self._settings.peers, found, strict=True) if there]

    async def _try(self, expression: str) -> None:
        try:
            said = await self._erlang.run(expression)
        except NodeUnreachableError as error:
            _log.warning("node %s: %s", self._settings.name, error)
        else:
            _log.info("node %s: %s", self._settings.name, said)


def _libraries() -> str:
    """Returns the folder where Debian keeps ejabberd, "" if it is not there."""
    folders = (*Path("/usr/lib").glob("*-linux-gnu*"), Path("/usr/lib"), Path("/usr/lib/erlang/lib"))
    return next((str(folder) for folder in folders if any(folder.glob("ejabberd-*/ebin/mod_mqtt.beam"))), "")
