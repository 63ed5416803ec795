"""One life of a child process. It ends with us, and nothing waits for ever: not for it, nor for what it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, final

from edge_agent.children.parent import with_parent
from edge_agent.hangs import HangDetector, HangError
from edge_agent.tasks import OvertakenError, unless

STOP_STILL_S = 5.0  # in which it does nothing after a polite request to end; then it is killed
STOP_WAITED_MAX_S = 60.0  # saving what a broker holds takes a second; less than systemd waits for us
LAST_WORDS_S = 1.0  # for what a child said, after its end: what it started may hold its output open for long
LINE_BYTES_MAX = 64 * 1024
_READ_BYTES = 64 * 1024


@final
class Outlet:
    """A pipe by which we hear a child.

    Not one of asyncio's: with those, waiting for the child waits for all who hold the pipe (Python 3.11 and 3.12).
    """

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport, theirs: int) -> None:
        self.reader = reader
        self.theirs = theirs
        self._transport = transport

    @classmethod
    async def open(cls, line_bytes_max: int = LINE_BYTES_MAX) -> Outlet:
        """Makes one. Close `theirs` once the child has it, and all in the end."""
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader(line_bytes_max)
        try:
            transport, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
            )
        except BaseException:
            os.close(theirs)
            raise
        return cls(reader, transport, theirs)

    async def read(self, take: Callable[[bytes], object]) -> None:
        """Hands on all that is said, until nobody is left who could say anything."""
        while data := await self.reader.read(_READ_BYTES):
            take(data)

    def close(self) -> None:
        """Closes our end. May be called twice."""
        self._transport.close()


@final
class Child:
    """A child that was started: `hear` it until its end, or leave `async with`, which ends it.

    The system ties its life to the thread that starts it: let that be the main thread's event loop.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: Outlet, errors: Outlet) -> None:
        self._process = process
        self.output = output
        """What it says; its errors too, unless they were to be apart."""
        self.errors = errors

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        errors_apart: bool = False,
        line_bytes_max: int = LINE_BYTES_MAX,
        with_us: signal.Signals | None = signal.SIGKILL,
    ) -> Child:
        """Starts a program.

        Args:
            environment: ours, if none is given.
            with_us: the signal that it gets when this process ends; `None` if it is to go on.

        Raises:
            OSError: it cannot be started.
        """
        output = errors = await Outlet.open(line_bytes_max)
        try:
            if errors_apart:
                errors = await Outlet.open(line_bytes_max)
            process = await asyncio.create_subprocess_exec(  # one that is cancelled here is killed by asyncio
                *command,
                stdin=stdin,
                stdout=output.theirs,
                stderr=errors.theirs,
                env=environment,
                cwd=folder,
                preexec_fn=with_parent(with_us),
                start_new_session=True,
            )
        except BaseException:
            output.close()
            errors.close()
            raise
        finally:
            for theirs in {output.theirs, errors.theirs}:
                os.close(theirs)
        return cls(process, output, errors)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended: an exit status, or a negative signal number; `None` while it runs."""
        return self._process.returncode

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """Where it hears us, if it was started so."""
        return self._process.stdin

    async def wait(self) -> int:
        """Returns its `status` once it has ended."""
        return await self._process.wait()

    async def hear(self, take: Callable[[bytes], object], outlet: Outlet | None = None) -> int:
        """Hands on all that it says, or one of its outlets, until it has ended; returns its `status`."""
        outlet = outlet or self.output
        try:
            with contextlib.suppress(OvertakenError):
                await unless(outlet.read(take), self._over())
            return await self.wait()
        finally:
            outlet.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Signals it; does nothing if it has ended."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, still_max_s: float = STOP_STILL_S) -> None:
        """Asks it to end and waits while it is about it; kills one that is not, and any if we are cancelled."""
        try:
            if self.status is None:
                self.send_signal(signal.SIGTERM)
                detector = HangDetector(lambda: [self.pid], still_max_s, waited_max_s=STOP_WAITED_MAX_S)
                with contextlib.suppress(HangError):
                    await unless(self.wait(), detector.found())
        finally:
            await self.kill()

    async def kill(self) -> None:
        """Kills it as a crash would, and waits. Does nothing if it has ended."""
        self.send_signal(signal.SIGKILL)
        await self.wait()

    def close(self) -> None:
        """Hears it no more."""
        self.output.close()
        self.errors.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.kill()
        finally:
            self.close()

    async def _over(self) -> None:
        await self.wait()
        await asyncio.sleep(LAST_WORDS_S)
