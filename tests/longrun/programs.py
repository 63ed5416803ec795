"""The product's commands as people run them, each a process with a log, and ways to take their broker away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from edge_agent.children.parent import with_parent
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

MOAMESH = (sys.executable, "-m", "edge_agent.cli.main")
WAIT_S = PATIENCE_S
AWAY_S = 10.0  # how long a broker is gone in the worst case here
END_S = 60.0  # for a command to end in order, on a machine that is ten times slower; a second is usual


class Restartable(Protocol):
    """A broker of ours."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...


async def _restart(broker: Restartable) -> None:
    await broker.stop()
    await broker.start()


async def _crash(broker: Restartable) -> None:
    await broker.kill()
    await broker.start()


async def _away(broker: Restartable) -> None:
    await broker.stop()
    await asyncio.sleep(AWAY_S)  # not a wait for something: the broker is gone for so long
    await broker.start()


async def _again_and_again(broker: Restartable) -> None:
    for _ in range(3):
        await _crash(broker)


TROUBLES: dict[str, Callable[[Restartable], Awaitable[None]]] = {
    "restarted": _restart,
    "restarted again and again": _again_and_again,
    "gone for ten seconds": _away,
}
"""What may happen to a broker beneath a command that works."""
EVERY_TROUBLE = [pytest.param(name, marks=[pytest.mark.long] if "ten seconds" in name else []) for name in TROUBLES]


@dataclass
class Program:
    """A running command."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def text(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.returncode is not None

    async def said(self, words: str, times: int = 1) -> None:
        """Waits until it has said this."""

        def has() -> bool:
            assert not self.ended, f"{self.name} ended ({self.process.returncode}):\n{self.text[-3000:]}"
            return self.text.count(words) >= times

        try:
            await until(has, f"{self.name} says {words!r} {times} times", WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-3000:]}") from None

    async def ends(self) -> int:
        """Waits until it ends; returns the exit status."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} does not end:\n{self.text[-3000:]}") from None

    async def ends_on_sigterm(self) -> int:
        """Ends it as a service manager would, and returns its exit status; that it takes too long is a fault."""
        if not self.ended:
            self.process.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await self.process.wait()
            except TimeoutError:
                raise AssertionError(f"{self.name} does not end on SIGTERM:\n{self.text[-3000:]}") from None
        return self.process.returncode or 0

    def check(self) -> None:
        """That it lives, and has shown nobody a traceback."""
        assert not self.ended, f"{self.name} ended ({self.process.returncode}):\n{self.text[-3000:]}"
        assert "Traceback" not in self.text, f"{self.name}:\n{self.text[-3000:]}"


@contextlib.asynccontextmanager
async def program(
    name: str, folder: Path, *arguments: str, env: dict[str, str] | None = None, command: tuple[str, ...] = MOAMESH
) -> AsyncIterator[Program]:
    """Runs a command until the context is left."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **(env or {})},
            preexec_fn=with_parent(signal.SIGKILL),
            start_new_session=True,
        )
    try:
        yield Program(name, process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()
