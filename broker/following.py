"""A supervised broker that follows its sources: who comes with a password, certificates, revocations."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from broker.mosquitto_files import Change, HalfWrittenError
from broker.own_broker import FOLLOW_S, OwnBroker, keep_following
from edge_agent.children import ChildStartError, Supervised
from edge_agent.tasks import HealthSources, TaskSupervisor

AGAIN_S = 2.0  # before a running broker is asked once more to read its files; each try of ejabberd starts a program


class FollowingBroker(OwnBroker):
    """`async with broker: ...` runs it. Enter it in the main thread.

    A subclass says what it writes and how a running broker takes it over.
    """

    def __init__(self, child: Supervised, sources: HealthSources) -> None:
        self.revision = 0
        """Rises with every change that the running broker has taken over."""
        self._child = self._program = child
        self._tasks = TaskSupervisor("broker's files", sources.source())
        self._files_told = sources.source()
        self._applying = asyncio.Lock()
        self._owed = Change.NOTHING  # what is written and not in force: a reload that failed is tried again

    @abstractmethod
    def _write(self) -> Change:
        """Brings its folder up to date; called in a thread."""

    @abstractmethod
    async def _reload(self) -> None:
        """Has the running broker read its access files again."""

    @property
    def restarts(self) -> int:
        """How often it was started again because it had ended or hung."""
        return self._program.restarts

    async def start(self) -> None:
        """Writes its folder, starts it, and returns when it answers. From then on it follows its sources.

        Raises:
            BrokerFilesError: a certificate, key or revocation list is missing or broken.
            ChildStartError: it did not start.
            OSError: its folder cannot be written.
        """
        await asyncio.to_thread(self._write)
        await self._program.start()
        self._tasks.keep("following them", self._follow)

    async def stop(self) -> None:
        """Ends it; what it held is on disk. May be called at any time, also twice."""
        await self._tasks.stop()
        await self._program.stop()

    async def kill(self) -> None:
        """Kills it as a power cut would, and keeps it down until `start`."""
        await self._tasks.stop()
        await self._program.kill()

    async def follow(self) -> Change:
        """Takes over what has changed, now; the follower does the same by itself within `FOLLOW_S`.

        Raises:
            BrokerFilesError: a new file is broken; the running broker keeps the old one.
            ChildStartError: the broker did not come back; it is tried again, with pauses.
            NodeUnreachableError: a node of ejabberd did not say that it has them; it is tried again, with pauses.
            OSError: its folder cannot be written.
        """
        async with self._applying:
            try:
                written = await asyncio.to_thread(self._write)
            except HalfWrittenError:
                self._owed = Change.RESTART  # which of them are new is not known any more
                raise
            change = self._owed = max(self._owed, written)
            if change is Change.RESTART:
                try:
                    await self._program.restart()
                except ChildStartError:
                    self._owed = Change.NOTHING  # whenever it starts, it starts with what is written
                    raise
            elif change is Change.RELOAD:
                await self._reload()
            self._owed = Change.NOTHING
            self.revision += change is not Change.NOTHING
            return change

    async def _follow(self) -> None:
        await keep_following(self.follow, "its old files", pause_s=self._pause_s, told=self._files_told)

    def _pause_s(self) -> float:
        return FOLLOW_S if self._owed is Change.NOTHING else AGAIN_S
