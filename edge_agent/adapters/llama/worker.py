"""The child process: `python -m edge_agent.adapters.llama.worker`. Loads one model and serves one parent over pipes.

It dies with its parent: by the signal that `edge_agent.children` asks for, and by the end of its standard input. Before
it looks at the model, which a stranger made, it shuts itself in: see `edge_agent.confinement`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from edge_agent.adapters.llama.own_memory import OwnMemory
from edge_agent.adapters.llama.protocol import (
    MESSAGE_BYTES_MAX,
    Cancel,
    FromChild,
    Infer,
    Load,
    LoadFailed,
    Ready,
    decode_to_child,
    encode,
)
from edge_agent.confinement import AllowedFiles, confine
from edge_agent.engines.child_start import model_files, yield_to_agent

REQUESTS_PENDING_MAX = 256  # the parent sends as many as there are slots; cancelled ones may still wait to be skipped


class Inbox:
    """What the parent sends, read by a thread of its own so that a cancel is seen in mid-step."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.Queue[Infer] = queue.Queue(REQUESTS_PENDING_MAX)
        self._open: set[int] = set()
        self._cancelled: set[int] = set()

    def start(self) -> None:
        """Begins reading; the process ends when the parent closes its end."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def requests(self, *, wait: bool) -> Iterator[Infer]:
        """Yields those that have come; if `wait`, at least one."""
        with contextlib.suppress(queue.Empty):
            yield self._requests.get(block=wait)
            while True:
                yield self._requests.get_nowait()

    def is_cancelled(self, request_id: int) -> bool:
        """Whether the parent no longer wants this request."""
        return request_id in self._cancelled

    def ended(self, request_id: int) -> None:
        """A request has had its end: a cancel that comes now means nothing."""
        self._open.discard(request_id)
        self._cancelled.discard(request_id)

    def _read(self) -> None:
        while line := self._stream.readline(MESSAGE_BYTES_MAX):
            try:
                message = decode_to_child(line)
            except ValueError as error:
                _end(f"unreadable message from the agent: {error}", status=2)
            if isinstance(message, Cancel) and message.id in self._open:
                self._cancelled.add(message.id)
            elif isinstance(message, Infer):
                self._open.add(message.id)
                self._requests.put(message)
        _end("", status=0)


class Outbox:
    """Sends to the parent over what was standard output."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    def send(self, message: FromChild) -> None:
        """Takes a message; it goes out at the next `flush`, with all others of a step."""
        self._lines.append(encode(message))

    def flush(self) -> None:
        """Sends what was taken; ends the process if nobody listens any more."""
        lines, self._lines = b"".join(self._lines), []
        try:
            self._stream.write(lines)
            self._stream.flush()
        except OSError:
            _end("", status=0)


def main() -> None:
    """Runs until the parent closes the pipe."""
    # The protocol gets a descriptor of its own: whatever a library prints must not land in it.
    outbox = Outbox(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    stdin = sys.stdin.buffer
    line = stdin.readline(MESSAGE_BYTES_MAX)
    first = decode_to_child(line) if line else None
    if not isinstance(first, Load):
        _end("the first message must say what to load", status=2)
    yield_to_agent()
    memory = OwnMemory()
    open_doors = confine(AllowedFiles(model_files(Path(first.model_path))))  # before there are threads
    inbox = Inbox(stdin)
    inbox.start()
    try:
        from edge_agent.adapters.llama.generator import Generator  # after the above: importing takes a while

        generator = Generator(first, memory, outbox.send, outbox.flush, inbox.is_cancelled)
    except ImportError as error:
        _refuse(outbox, f"llama-cpp-python does not import ({error}): pip install 'moamesh[llama]'")
    except ValueError as error:
        _refuse(outbox, str(error))
    except Exception as error:  # the file is a program's input: a library may stumble over it in any way
        _refuse(outbox, f"{first.model_path} cannot be used: {type(error).__name__}: {error}")
    outbox.send(Ready(generator.context_tokens, "; ".join(open_doors)))
    outbox.flush()
    while True:
        for request in inbox.requests(wait=not generator.is_busy):
            generator.add(request)
        for request_id in generator.step():
            inbox.ended(request_id)
        outbox.flush()


def _refuse(outbox: Outbox, detail: str) -> NoReturn:
    outbox.send(LoadFailed(detail))
    outbox.flush()
    _end("", status=1)


def _end(reason: str, status: int) -> NoReturn:
    """Ends at once, from any thread and without clean-up: nothing here outlives the process."""
    if reason:
        sys.stderr.write(reason + "\n")
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
