"""One life of a server as its parent sees it: starting, talking, noticing that it hangs or has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import httpx

from edge_agent import children
from edge_agent.adapters.llama_server.programs import ServerProgram, knows_sockets
from edge_agent.adapters.llama_server.worker import CANNOT_LOAD
from edge_agent.children import OutputTail
from edge_agent.confinement import confined_environment
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError
from edge_agent.engines.chat import Conversation, ServerAddress
from edge_agent.engines.obituary import how_it_ended
from edge_agent.engines.watchdog import Watchdog
from edge_agent.hangs import HangDetector, HangError
from edge_agent.ports import InferenceResult
from edge_agent.tasks import TaskSupervisor, unless

WORKER_MODULE = "edge_agent.adapters.llama_server.worker"
WORDS_BYTES_KEPT = 4096  # of what it says: why it does not load
POLL_S = 0.05  # between two questions to one that still loads
HEALTH_TIMEOUT_S = 5.0  # of one such question
CLOSE_STILL_S = 1.0  # an idle server ends in milliseconds; one that doesn't has nothing to save
PLAIN_TEMPLATE = "chatml"  # llama.cpp's name for it; most small models were trained with it
_TELLING = ("error", "fail", "cannot")
_SERVING_HOST = "http://llama-server"  # a name for requests over a Unix socket


@final
@dataclass(frozen=True, slots=True)
class Load:
    """What a server is to load and how.

    context_tokens: of each slot.
    gpu_layers: for a program built for graphics processors; `None` leaves it to the program.
    plain_template: a common chat template in the place of the model's own, which is broken.
    """

    model: Path
    name: str
    threads: int
    context_tokens: int
    slots: int
    instruction: str
    gpu_layers: int | None = None
    plain_template: bool = False


@final
@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: what a load may take of standing still, of computing, in all (`edge_agent.hangs`); what a server
    may be without a sign of life while it owes an answer."""

    still_max_s: float
    computed_max_s: float
    waited_max_s: float
    stall_timeout_s: float
    silence_timeout_s: float


@final
@dataclass(slots=True)
class _Place:
    """Where a server listens: a Unix socket in a folder that nobody else may enter, or a port with a key."""

    folder: tempfile.TemporaryDirectory[str]
    socket: Path | None
    port: int = 0
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def address(self) -> ServerAddress:
        """How it is reached."""
        url = _SERVING_HOST if self.socket else f"http://127.0.0.1:{self.port}"
        return ServerAddress(url, self.api_key, self.socket)


class ServerProcess:
    """A running server. Made by `start`; whoever has one must `close` it."""

    def __init__(self, child: children.Child, place: _Place, patience: Patience) -> None:
        self._child = child
        self._place = place
        self._words = OutputTail(WORDS_BYTES_KEPT)
        self._tasks = TaskSupervisor("llama-server")
        self._killed_for = ""
        self._client = place.address.connect(patience.silence_timeout_s)
        self._conversation: Conversation | None = None
        self._hearing = asyncio.create_task(self._hear(), name="llama-server")
        self.watchdog = Watchdog(child.pid, patience.stall_timeout_s, self._hangs)
        self.ended = False
        """The process is gone, or was killed."""
        self.completed = 0
        """Requests that it has done to their end."""
        self.open_doors = ""
        """What does not confine it on this machine, in words."""

    @classmethod
    async def start(cls, program: ServerProgram, load: Load, patience: Patience) -> Self:
        """Starts a server and waits until its model is loaded.

        Raises:
            EngineError: the model does not load (not retryable), or the process died or hung while loading (retryable).
        """
        place = await _find_place(program)
        try:
            child = await children.Child.start(
                [sys.executable, "-P", "-m", WORKER_MODULE],  # -P: what lies in the working directory is not ours
                environment=confined_environment(),
                stdin=asyncio.subprocess.PIPE,
                errors_apart=True,
            )
        except OSError as error:  # no memory or no process left just now
            place.folder.cleanup()
            raise EngineError(f"the model process does not start: {error.strerror}", retryable=True) from error
        server = cls(child, place, patience)
        try:
            server._order(program, load)
            detector = HangDetector(
                lambda: [child.pid],
                patience.still_max_s,
                computed_max_s=patience.computed_max_s,
                waited_max_s=patience.waited_max_s,
            )
            if not await unless(server._loaded(), detector.found()):
                gave_up = (child.status or 0) >= 0
                raise EngineError(server.obituary(), retryable=not gave_up)
            await server._converse(load, patience)
        except HangError as error:
            await server.close()
            raise EngineError(f"the model does not load: its process {error}", retryable=True) from None
        except BaseException:
            await server.close()
            raise
        return server

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item.

        Raises:
            EngineError: the server refuses it, or ended or hung (retryable).
        """
        if self._conversation is None:
            raise EngineError("the server has not loaded its model", retryable=True)
        self.watchdog.owed()
        try:
            result = await self._conversation.ask(request, on_text)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise await self._broke_off(error) from error
        except asyncio.CancelledError:
            self._tasks.begin("cancelled", self._see_it_stop())
            raise
        finally:
            self.watchdog.paid()
        self.completed += 1
        return result

    async def wait_ended(self) -> None:
        """Returns when the process is gone."""
        await asyncio.shield(self._hearing)

    async def close(self) -> None:
        """Ends the process: politely, then by force. May be called twice."""
        self.watchdog.stop()
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            await self._child.stop(CLOSE_STILL_S)
        finally:
            await self._hearing
            await self._tasks.stop()
            await self._client.aclose()
            self._place.folder.cleanup()

    def obituary(self) -> str:
        """How it ended, in one line."""
        if self._killed_for:
            return f"the model process {self._killed_for} and was killed"
        reason = _reason(self._words.lines())
        if self._child.status == CANNOT_LOAD and "cannot" not in reason:  # llama.cpp's own words on the file
            return f"llama.cpp cannot load the model: {_LOG_PREFIX.sub('', reason)}"
        return f"the model process {how_it_ended(self._child.status, reason)}"

    def _order(self, program: ServerProgram, load: Load) -> None:
        orders: dict[str, Any] = {
            "model": str(load.model),
            "name": load.name,
            "threads": load.threads,
            "context_tokens": load.context_tokens,
            "chat_template": PLAIN_TEMPLATE if load.plain_template else "",
            "slots": load.slots,
            "socket": str(self._place.socket or ""),
            "api_key": self._place.api_key,
            "program": str(program.program or ""),
            "arguments": _arguments(load, self._place),
        }
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(orders).encode() + b"\n")

    async def _loaded(self) -> bool:
        """Returns once it can infer; `False` if it ended before."""
        with contextlib.suppress(ValueError, OSError):
            first = json.loads(await self._child.output.reader.readline() or b"{}")
            self.open_doors = str(first.get("open_doors", ""))
        self._tasks.begin("what it says", self._drain())
        while not await self._is_well():
            if self._child.status is not None:
                await self._hearing  # until its last words are heard
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _is_well(self) -> bool:
        try:
            answer = await self._client.get(f"{self._place.address.root}/health", timeout=HEALTH_TIMEOUT_S)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    async def _converse(self, load: Load, patience: Patience) -> None:
        address = self._place.address
        self._conversation = Conversation(
            self._client,
            address,
            load.name,
            context_tokens=load.context_tokens,
            instruction=load.instruction,
            silence_timeout_s=patience.silence_timeout_s,
            more=_more,
            heard=self.watchdog.heard,
        )
        try:
            await self._conversation.learn_context()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise await self._broke_off(error) from error

    async def _broke_off(self, error: Exception) -> EngineError:
        """What became of the process, which is why the connection broke; it may take a moment to be gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_STILL_S):
                await asyncio.shield(self._hearing)
        detail = self.obituary() if self.ended else self._place.address.words.broke_off(error).detail
        return EngineError(detail, retryable=True)

    async def _see_it_stop(self) -> None:
        """Asks what only its main loop can answer: it has then seen that nobody waits for the item any more."""
        self.watchdog.owed()
        try:
            await self._client.get(f"{self._place.address.root}/slots")
        except httpx.HTTPError:
            pass  # whoever asks next meets it too
        finally:
            self.watchdog.paid()

    async def _hear(self) -> None:
        try:
            await self._child.hear(self._words.add, self._child.errors)
        finally:
            self.ended = True
            self.watchdog.stop()
            self._child.close()

    async def _drain(self) -> None:
        while await self._child.output.reader.read(WORDS_BYTES_KEPT):
            pass

    def _hangs(self, how: str) -> None:
        self._killed_for = f"made no progress: it {how}"
        self.ended = True  # nothing more is asked of it, though it takes a moment to die
        self._child.send_signal(signal.SIGKILL)


async def _find_place(program: ServerProgram) -> _Place:
    folder = tempfile.TemporaryDirectory(prefix="moamesh-", ignore_cleanup_errors=True)
    if program.program is None or await asyncio.to_thread(knows_sockets, program.program):
        return _Place(folder, Path(folder.name) / "s.sock")
    with socket.socket() as free:  # another process may take it before the server does: then it is tried again
        free.bind(("127.0.0.1", 0))
        return _Place(folder, None, free.getsockname()[1])


def _arguments(load: Load, place: _Place) -> list[str]:
    """What a program is told; the package is told by its worker."""
    threads = str(load.threads)
    where = ["--host", str(place.socket)] if place.socket else ["--host", "127.0.0.1", "--port", str(place.port)]
    template = ["--chat-template", PLAIN_TEMPLATE] if load.plain_template else []
    layers = [] if load.gpu_layers is None else ["--n-gpu-layers", str(load.gpu_layers)]
    return [
        *("--model", str(load.model), "--alias", load.name, *where, "--jinja"),
        *("--ctx-size", str(load.context_tokens * load.slots), "--parallel", str(load.slots)),
        *("--threads", threads, "--threads-batch", threads, *layers, *template),
    ]


def _more(request: StartInference) -> dict[str, Any]:
    """Fields beyond OpenAI's: signs of life while a prompt is read in; and for a seed an empty cache, since a common
    prefix computed in other batches differs in its last bits, and so may the tokens drawn."""
    return {"return_progress": True, "cache_prompt": request.sampling.seed is None}


_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] ")
"""What llama.cpp begins a line of its log with: the time and the level."""


def _reason(lines: Sequence[str]) -> str:
    """The line that says why it ended: the first that speaks of a failure, else the last."""
    telling = (line for line in lines if any(word in line.lower() for word in _TELLING))
    return next(telling, lines[-1] if lines else "").strip()
