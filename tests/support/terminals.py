"""A program in a real pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pyte

from tests.support.patience import PATIENCE_S

LINES_KEPT = 2_000  # that scrolled off the screen
READ_BYTES = 65_536


@dataclass
class Terminal:
    """A running program and its screen."""

    process: asyncio.subprocess.Process
    screen: pyte.HistoryScreen
    fd: int
    received: bytearray = field(default_factory=bytearray)

    @property
    def lines(self) -> list[str]:
        """The screen, with all that scrolled off above it."""
        history = [
            "".join(row[column].data for column in range(self.screen.columns)).rstrip()
            for row in self.screen.history.top
        ]
        return [*history, *(line.rstrip() for line in self.screen.display)]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self.fd, keys.encode())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something is so."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():  # noqa: ASYNC110 -- what is waited for has no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE_S:.0f} s; the screen:\n{self.text}") from None

    async def ends(self) -> int:
        """Waits until the program ends; returns its exit status."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def in_terminal(
    command: Sequence[str], env: dict[str, str], *, columns: int = 80, lines: int = 24, kind: str = "xterm-256color"
) -> AsyncIterator[Terminal]:
    """Runs a command in a terminal of this size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    screen = pyte.HistoryScreen(columns, lines, history=LINES_KEPT, ratio=0.5)
    stream = pyte.ByteStream(screen)
    loop = asyncio.get_running_loop()
    kept = {name: value for name, value in env.items() if name not in ("NO_COLOR", "COLUMNS", "LINES", "CI")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=kept | {"TERM": kind, "COLORTERM": "truecolor"},
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(process, screen, master)

    def readable() -> None:
        try:
            read = os.read(master, READ_BYTES)
        except OSError:  # the other end is closed
            read = b""
        if read:
            terminal.received += read
            stream.feed(read)
        else:
            loop.remove_reader(master)

    loop.add_reader(master, readable)
    try:
        yield terminal
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)
