"""Programs that do one thing and end, for code that has no event loop. They end with us, and within a bound."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from signal import SIGKILL
from typing import IO, final

from edge_agent.children.child import LAST_WORDS_S, LINE_BYTES_MAX
from edge_agent.children.output_tail import OUTPUT_TAIL_BYTES_MAX, OutputTail
from edge_agent.children.parent import with_parent

OUTPUT_BYTES_MAX = 1024 * 1024
_BLOCK_BYTES = 64 * 1024
_LOOK_S = 0.05  # how soon an end is seen of a program whose output somebody else holds open


@final
@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: its exit status or negative signal number, and the last of what it wrote."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        """Its output."""
        return self.output.decode("utf-8", "replace")

    @property
    def reason(self) -> str:
        """The last line of its errors, or how it ended if there is none."""
        said = self.errors.decode("utf-8", "replace").strip().splitlines()
        return said[-1] if said else f"status {self.status}"


@contextlib.contextmanager
def helper(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    output: int | IO[bytes] = subprocess.PIPE,
    errors: int | IO[bytes] = subprocess.STDOUT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program while the context lasts, and waits for its end; kills it if the context is left by an error.

    Raises:
        OSError: it cannot be started.
    """
    with subprocess.Popen(  # noqa: S603 - what we run is named where we are called, and no shell reads it
        command,
        stdin=stdin,
        stdout=output,
        stderr=errors,
        env=environment,
        preexec_fn=with_parent(SIGKILL),
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yields what a helper says, line by line without its white space; a line without end in pieces."""
    while process.stdout is not None and (line := process.stdout.readline(LINE_BYTES_MAX)):
        yield line.decode("utf-8", "replace").strip()


def ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Waits this long for a helper's end; returns whether it came."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    return process.returncode is not None


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
) -> Done:
    """Runs a program to its end and returns what it said.

    Args:
        data: what it is given to read.
        output_bytes_max: the last of its output that is kept.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time, and was killed.
    """
    stdin = subprocess.PIPE if data else subprocess.DEVNULL
    until = time.monotonic() + timeout_s
    output, errors = OutputTail(output_bytes_max), OutputTail(OUTPUT_TAIL_BYTES_MAX)
    with helper(command, environment=environment, stdin=stdin, errors=subprocess.PIPE) as process:
        _converse(process, data, {process.stdout: output, process.stderr: errors}, until)
        try:
            status = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it did not end in {timeout_s:g} s") from None
    return Done(status, output.get(), errors.get())


def _converse(
    process: subprocess.Popen[bytes], data: bytes, heard: Mapping[IO[bytes] | None, OutputTail], until: float
) -> None:
    """Writes and reads what there is; until all is said, or the time is up, or it has ended and others keep quiet."""
    rest = memoryview(data)
    with selectors.DefaultSelector() as streams:
        for stream in filter(None, heard):
            streams.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            streams.register(process.stdin, selectors.EVENT_WRITE)
        while streams.get_map() and (now := time.monotonic()) < until:
            if process.poll() is not None:
                until = min(until, now + LAST_WORDS_S)
            for key, _ in streams.select(_LOOK_S):
                if key.fileobj is not process.stdin:
                    chunk = os.read(key.fd, _BLOCK_BYTES)
                    heard[key.fileobj].add(chunk)  # type: ignore[index]  # we registered no other
                    ended = not chunk
                else:
                    try:
                        rest = rest[os.write(key.fd, rest[:_BLOCK_BYTES]) :]
                    except BrokenPipeError:  # it wants no more
                        rest = rest[:0]
                    ended = not rest
                if ended:
                    streams.unregister(key.fileobj)
                    if key.fileobj is process.stdin:
                        process.stdin.close()
