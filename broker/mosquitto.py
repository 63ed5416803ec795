"""A supervised mosquitto with mutual TLS whose folder follows its sources: people, certificates, revocations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from broker.access import People
from broker.health import TlsHealth
from broker.mosquitto_config import mosquitto_command
from broker.mosquitto_files import BrokerFilesError, Change, MosquittoFiles
from broker.supervised import Supervised

_log = logging.getLogger(__name__)

FOLLOW_S = 0.25  # how soon a revocation or a new user is seen; a look reads a few small files


class MosquittoBroker:
    """Runs one mosquitto: `async with MosquittoBroker(files, people) as broker: ...`. Enter it in the main thread.

    Args:
        files: its folder, listeners and certificates.
        people: who comes with a password; called again and again, in a thread, so that changes are followed.
        health: how to ask whether it answers.
    """

    def __init__(
        self, files: MosquittoFiles, people: Callable[[], People] = People, *, health: TlsHealth | None = None
    ) -> None:
        self.revision = 0
        """Rises with every change that the running broker has taken over."""
        self._files = files
        self._people = people
        folder = files.config.folder
        self._child = Supervised(
            "mosquitto",
            mosquitto_command(files.config.program, folder),
            folder / "mosquitto.log",
            (health or _health(files)).answers,
        )
        self._follower: asyncio.Task[None] | None = None
        self._applying = asyncio.Lock()
        self._said = ""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._child.running

    @property
    def restarts(self) -> int:
        """How often it was started again because it had ended or hung."""
        return self._child.restarts

    @property
    def port(self) -> int:
        """Where devices connect."""
        return self._files.config.listeners.devices

    def log_tail(self) -> str:
        """Returns the last of what it logged, as one line."""
        return self._child.tail()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Writes its folder, starts it, and returns when it answers. From then on it follows its sources.

        Raises:
            BrokerFilesError: a certificate, key or revocation list is missing or broken.
            BrokerStartError: it did not start.
            OSError: its folder cannot be written.
        """
        await asyncio.to_thread(self._write)
        await self._child.start()
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="follow the broker's files")

    async def stop(self) -> None:
        """Ends it; what it held is on disk. May be called at any time, also twice."""
        await self._let_go()
        await self._child.stop()

    async def kill(self) -> None:
        """Kills it as a power cut would, and keeps it down until `start`."""
        await self._let_go()
        await self._child.kill()

    async def follow(self) -> Change:
        """Takes over what has changed, now; the follower does the same by itself within `FOLLOW_S`.

        Raises:
            BrokerFilesError: a new file is broken; the running broker keeps the old one.
            BrokerStartError: the broker did not come back; it is tried again, with pauses.
            OSError: its folder cannot be written.
        """
        async with self._applying:
            change = await asyncio.to_thread(self._write)
            if change is Change.RESTART:
                await self._child.restart()
            elif change is Change.RELOAD:
                self._child.reload()
            self.revision += change is not Change.NOTHING
            return change

    def _write(self) -> Change:
        return self._files.write(self._people())

    async def _let_go(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.wait([follower])

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                await self.follow()
                self._said = ""
            except Exception as error:  # whatever the source of people raises: the broker goes on as it is
                if str(error) != self._said:  # once, not four times a second
                    _log.error("the broker goes on with its old files: %s", error)
                    self._said = str(error)


def _health(files: MosquittoFiles) -> TlsHealth:
    """Asks the listener that lets one get furthest without rights: a password is refused in MQTT, not in TLS."""
    listeners = files.config.listeners
    host = listeners.host if listeners.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared
    port = listeners.passwords or listeners.devices
    ca = files.config.folder / "ca.pem"
    return TlsHealth(host, port, ca, demands_certificate=listeners.passwords is None)


__all__ = ["BrokerFilesError", "MosquittoBroker"]
