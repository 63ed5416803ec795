"""The child process: `python -m edge_agent.adapters.llama.worker`. Loads one model and serves one parent over pipes.

It dies with its parent: by the signal that `edge_agent.children` asks for, and by the end of its standard input. Before
it looks at the model, which a stranger made, it shuts itself in: see `edge_agent.confinement`.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

from edge_agent.adapters.llama.own_memory import OwnMemory
from edge_agent.adapters.llama.protocol import (
    MESSAGE_BYTES_MAX,
    Cancel,
    Failed,
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

REQUESTS_PENDING_MAX = 16  # the parent sends one at a time; cancelled ones may still wait to be skipped


class Inbox:
    """What the parent sends, read by a thread of its own so that a cancel is seen in mid-inference."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.Queue[Infer] = queue.Queue(REQUESTS_PENDING_MAX)
        self._cancelled_through = 0

    def start(self) -> None:
        """Begins reading; the process ends when the parent closes its end."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next_request(self) -> Infer:
        """Waits for the next request."""
        return self._requests.get()

    def is_cancelled(self, request_id: int) -> bool:
        """Whether the parent no longer wants this request."""
        return request_id <= self._cancelled_through

    def _read(self) -> None:
        while line := self._stream.readline(MESSAGE_BYTES_MAX):
            try:
                message = decode_to_child(line)
            except ValueError as error:
                _end(f"unreadable message from the agent: {error}", status=2)
            if isinstance(message, Cancel):
                self._cancelled_through = max(self._cancelled_through, message.id)
            elif isinstance(message, Infer):
                self._requests.put(message)
        _end("", status=0)


class Outbox:
    """Sends to the parent over what was standard output."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: FromChild) -> None:
        """Sends one message; ends the process if nobody listens any more."""
        try:
            self._stream.write(encode(message))
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

        generator = Generator(first, memory)
    except ImportError as error:
        outbox.send(LoadFailed(f"llama-cpp-python does not import ({error}): pip install 'moamesh[llama]'"))
        _end("", status=1)
    except ValueError as error:
        outbox.send(LoadFailed(str(error)))
        _end("", status=1)
    except Exception as error:  # the file is a program's input: a library may stumble over it in any way
        outbox.send(LoadFailed(f"{first.model_path} cannot be used: {type(error).__name__}: {error}"))
        _end("", status=1)
    outbox.send(Ready(generator.context_tokens, "; ".join(open_doors)))
    while True:
        request = inbox.next_request()
        try:
            generator.infer(request, outbox.send, partial(inbox.is_cancelled, request.id))
        except Exception as error:  # it has its one end all the same; whether the model still works, the next one tells
            outbox.send(Failed(request.id, f"llama.cpp failed: {type(error).__name__}: {error}", retryable=True))


def _end(reason: str, status: int) -> NoReturn:
    """Ends at once, from any thread and without clean-up: nothing here outlives the process."""
    if reason:
        sys.stderr.write(reason + "\n")
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
