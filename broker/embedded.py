"""A broker of one's own on the loopback interface: for demos, tests and devices that share one machine."""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from broker.access import People
from broker.embedded_web import BUILT_WITHOUT, BUILT_WITHOUT_HINT, HINT, WebSide
from broker.kinds import choose
from broker.loopback import answers_connect, free_port, port_is_free
from broker.mosquitto_files import Change
from broker.own_broker import FOLLOW_S, OwnBroker, keep_following
from edge_agent.children import ChildStartError, Supervised
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.topics import ANY

PORT_ATTEMPTS = 5  # somebody else may take a free port between our look and the broker's start


class EmbeddedBroker(OwnBroker):
    """Starts a broker as a child process: `async with EmbeddedBroker() as broker: ... broker.url`.

    It dies with this process, whatever happens to it, and is started again should it end by itself or hang. Enter it in
    the main thread.

    Args:
        port: 0 takes a free one, kept over `restart`.
        kind: "mosquitto" or "iotcore"; `None` takes the better one that is installed.
        run_dir: for its configuration and log; `None` is a temporary folder, removed at the end.
        web_port: of a WebSockets listener for people with passwords; 0 takes a free one, kept over `restart`, `None` is
            none. iotcore has none either way: see `web_hint`.
        web_host: IPv4 address where that one listens; it may be in the network, since it demands passwords.
        people: who may come in there; called again and again, in a thread, so that changes are followed. When somebody
            is removed or gets another password, the broker restarts to end their live session.
        mesh: whose topics they may reach.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        kind: str | None = None,
        run_dir: Path | None = None,
        web_port: int | None = None,
        web_host: str = "127.0.0.1",
        people: Callable[[], People] = People,
        mesh: str = ANY,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"the embedded broker accepts everyone, so it listens on the loopback interface only, not on {host}"
            )
        self._kind = choose(kind)
        self._web = WebSide(web_host, people, mesh) if web_port is not None and self._kind.has_web else None
        self._web_hint = "" if self._kind.has_web else HINT
        self._wanted_web_port = web_port or 0
        self._web_port = self._wanted_web_port
        self._tasks = TaskSupervisor("embedded broker")
        self._changing = asyncio.Lock()  # a restart that a removed user needs must not meet `stop` or `kill`
        self._host = host
        self._wanted_port = port
        self._port = port
        self._run_dir = run_dir
        self._temporary: str | None = None

    @property
    def kind(self) -> str:
        """Which program it is: "mosquitto" or "iotcore"."""
        return self._kind.name

    @property
    def limitations(self) -> str:
        """One line on what this kind cannot do; "" if there is nothing to say."""
        return self._kind.limitations

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"mqtt://{host}:{self._port}"

    @property
    def web_url(self) -> str:
        """Where people with passwords connect by WebSockets from this host, once started; "" if that is nowhere."""
        return self._web.url(self._web_port) if self._web is not None else ""

    @property
    def web_hint(self) -> str:
        """What to do to get a web listener where this kind has none; "" otherwise."""
        return self._web_hint

    async def start(self) -> None:
        """Starts it; returns when it has answered an MQTT CONNECT. From then on it follows who may come in.

        Raises:
            ChildStartError: it ended, or hangs.
            ValueError: a password hash of `people` is none.
        """
        async with self._changing:
            await self._start()
        if self._web is not None:
            self._tasks.keep(
                "following its people", lambda: keep_following(self.follow, "its old users", pause_s=lambda: FOLLOW_S)
            )

    async def stop(self) -> None:
        """Ends it and removes its temporary folder. May be called at any time, also twice."""
        await self._let_go()
        async with self._changing:
            await self._stop()

    async def kill(self) -> None:
        """Kills it as a crash would; `start` brings it back on the same port."""
        await self._let_go()
        async with self._changing:
            await self._kill()

    async def restart(self) -> None:
        """Stops it and starts it again on the same port. What it held in memory is gone."""
        await self.stop()
        await self.start()

    async def follow(self) -> None:
        """Takes over who may come in, now; by itself it does so within `FOLLOW_S`.

        Raises:
            ChildStartError: it did not come back after a restart.
            ValueError: a password hash is none; everything stays as it was.
            OSError: its folder cannot be written.
        """
        async with self._changing:
            if self._web is None or self._child is None or not self._child.running:
                return
            change = await asyncio.to_thread(self._web.write, self._folder)
            if change is Change.RESTART:
                await self._child.restart()
            elif change is Change.RELOAD:
                self._child.reload()

    @property
    def _folder(self) -> Path:
        return Path(self._run_dir or self._temporary or "")

    async def _start(self) -> None:
        if self._run_dir is None and self._temporary is None:
            self._temporary = await asyncio.to_thread(tempfile.mkdtemp, prefix="moamesh-broker-")
        folder = self._folder
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._port = self._port or free_port(self._host)
            if self._web is not None:
                self._web_port = self._web_port or free_port(self._web.host)
            try:
                await self._start_once(folder)
            except ChildStartError as error:
                await self._kill()
                if self._web is not None and BUILT_WITHOUT in str(error):
                    self._web, self._web_hint = None, BUILT_WITHOUT_HINT  # everything else works without
                elif (self._wanted_port and (self._wanted_web_port or self._web is None)) or attempt == PORT_ATTEMPTS:
                    await self._stop()
                    raise
                self._port, self._web_port = self._wanted_port, self._wanted_web_port
            except BaseException:
                await self._stop()
                raise
            else:
                # a restart comes back where its clients look for it
                self._wanted_port, self._wanted_web_port = self._port, self._web_port
                return

    async def _stop(self) -> None:
        if self._child is not None:
            await self._child.stop()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)
            self._temporary = None

    async def _kill(self) -> None:
        if self._child is not None:
            await self._child.kill()

    async def _let_go(self) -> None:
        async with self._changing:  # not in the middle of a restart
            await self._tasks.stop()

    async def _start_once(self, folder: Path) -> None:
        if not port_is_free(self._host, self._port):  # else the check below might be answered by whoever has it
            raise ChildStartError(f"{self.kind} did not start: port {self._port} is taken")
        if self._web is not None:
            if not port_is_free(self._web.host, self._web_port):
                raise ChildStartError(f"{self.kind} did not start: port {self._web_port} (WebSockets) is taken")
            await asyncio.to_thread(self._web.write, folder)
        listener = self._web.listener(self._web_port) if self._web is not None else None
        command = self._kind.command(folder, self._host, self._port, listener)
        log = folder / f"{self.kind}.log"
        self._child = Supervised(self.kind, command, log, self._answers)
        await self._child.start()

    async def _answers(self, timeout_s: float) -> bool:
        if not await answers_connect(self._host, self._port, timeout_s):
            return False
        return self._web is None or await self._web.answers(self._web_port, timeout_s)
