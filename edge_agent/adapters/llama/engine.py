"""The llama.cpp engine as the runtime sees it: a supervised model process that comes back when it dies."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.llama.child import Child, LoadBounds
from edge_agent.adapters.llama.protocol import Cancelled, Done, Failed, Infer, Load, Progress, Text
from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION
from edge_agent.core.effects import StartInference
from edge_agent.core.errors import EngineError, MoameshError
from edge_agent.ports import InferenceResult, ModelCard
from edge_agent.stillness import COMPUTED_MAX_S, WAITED_MAX_S

log = logging.getLogger(__name__)

GGUF_MAGIC = b"GGUF"
STALL_TIMEOUT_S = 30.0  # without a sign of life, which comes every half second or token, and without doing anything
LOAD_STILL_S = 60.0  # a load computes or reads: it has nothing to wait for
LOAD_BYTES_PER_S_MIN = 5_000_000  # a poor SD card
START_ATTEMPTS_MAX = 3  # a first start may meet a passing shortage of memory; a third failure will not pass
RELOAD_QUIET_S = 10.0  # a reload out of the page cache takes a second or two, worth waiting for; a longer one is told
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0  # a child that dies at once must not keep the device busy with loading; it is tried for ever
HEALTHY_AFTER_S = 60.0  # a child that lived this long, or did a request, did not die of its start
TEXT_BYTES_MAX = 256 * 1024  # of an answer: eight times what the mesh passes on


class LlamaEngine:
    """Runs a GGUF model through llama.cpp in a child process.

    model_path: the GGUF file.
    threads: CPU threads of the model; the cores of the host divided by its agents, at least 1.
    context_tokens: prompt, references and answer together; more is more memory and longer waits. Lowered to what
        the model was trained for.
    instruction: the wording given with references.
    stall_timeout_s: without a sign of life for this long, and doing nothing, the child is killed. One that computes
        has longer (`edge_agent.stillness`).
    reload_quiet_s: how long a new child may load before it is said that this device cannot infer.
    verify: called on a thread before each load; raises a `MoameshError` if the file is not what it must be. It is given
        a function that is true once nobody waits for it any more.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int,
        context_tokens: int = 4096,
        name: str = "",
        family: str = "unknown",
        instruction: str = AGGREGATION_INSTRUCTION,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        reload_quiet_s: float = RELOAD_QUIET_S,
        verify: Callable[[Callable[[], bool]], None] | None = None,
    ) -> None:
        if threads < 1 or context_tokens < 1:
            raise ValueError("threads and context_tokens must be at least 1")
        self._model_path = model_path
        self._threads = threads
        self._context_tokens = context_tokens
        self._instruction = instruction
        self._card = ModelCard(name=name or model_path.stem, family=family)
        self._stall_timeout_s = stall_timeout_s
        self._reload_quiet_s = reload_quiet_s
        self._verify = verify
        self._on_health: Callable[[str], None] = lambda detail: None
        self._trouble = ""
        self._is_started = False
        self._child: Child | None = None
        self._changed = asyncio.Condition()
        self._attempts = 0
        self._last_error: EngineError | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._last_id = 0
        self._children = 0
        self.restarts = 0
        """How often a new child has taken the place of one that died."""

    @property
    def card(self) -> ModelCard:
        """Name and family as given, or after the file."""
        return self._card

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that serves now; `None` while there is none."""
        return self._child.pid if self._child is not None else None

    def watch(self, on_health: Callable[[str], None]) -> None:
        """Has `on_health` told when the model process does not come back, and when it has."""
        self._on_health = on_health

    async def start(self) -> None:
        """Loads the model in a child; returns when it can infer. Does nothing if it was started already.

        Raises:
            EngineError: no such file, not a GGUF file, llama.cpp can't load it, or three starts failed.
        """
        if self._supervisor is not None:
            return
        self._last_error, self._trouble, self._is_started = None, "", False
        self._supervisor = asyncio.create_task(self._supervise(), name="llama-supervisor")
        error: EngineError | None = None
        for _ in range(START_ATTEMPTS_MAX):
            try:
                await self._live_child()
            except EngineError as caught:
                error = caught
                if not caught.retryable:
                    break
            except BaseException:
                await self.stop()
                raise
            else:
                self._is_started = True
                return
        await self.stop()
        raise EngineError(error.detail if error else "the model did not start", retryable=False)

    async def infer(self, request: StartInference, on_text: Callable[[str], None] | None) -> InferenceResult:
        """Infers one item in the child; waits first for a child that is just restarting.

        Raises:
            EngineError: the child died or hung (retryable), cannot do this request at all, or does not come back.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        child = await self._live_child()
        self._last_id += 1
        texts: list[str] = []
        bytes_left = TEXT_BYTES_MAX
        first_at: float | None = None
        try:
            await child.send_request(_to_infer(self._last_id, request))
            while True:
                message = await child.receive()
                if isinstance(message, Text) or (isinstance(message, Progress) and message.output_tokens > 0):
                    first_at = first_at or loop.time()
                if isinstance(message, Text):
                    texts.append(message.text)
                    bytes_left -= len(message.text.encode("utf-8", "replace"))
                    if bytes_left < 0:
                        raise EngineError("the model process writes without end", retryable=False)
                    if request.stream and on_text is not None:
                        on_text(message.text)
                elif isinstance(message, Done):
                    return InferenceResult(
                        text="".join(texts),
                        input_tokens=message.input_tokens,
                        output_tokens=message.output_tokens,
                        input_tokens_cut=message.input_tokens_cut,
                        time_to_first_token_s=(first_at or loop.time()) - started,
                    )
                elif isinstance(message, Failed):
                    raise EngineError(message.detail, retryable=message.retryable)
                elif isinstance(message, Cancelled):  # by nobody here
                    raise EngineError("the model process gave up", retryable=True)
        finally:
            child.cancel(self._last_id)  # nothing, unless we are leaving early

    async def stop(self) -> None:
        """Ends the child and its supervision. May be called at any time, also twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
            await self._tell()

    async def _live_child(self) -> Child:
        """Waits for a child that can infer, through at most one more attempt to start one, and while it is quick."""
        if self._supervisor is None:
            raise EngineError("the engine is not running", retryable=False)
        attempts_before = self._attempts

        def decided() -> bool:
            failed = self._attempts > attempts_before or bool(self._trouble)
            return self._usable_child() is not None or failed or self._supervisor is None

        async with self._changed:
            await self._changed.wait_for(decided)
        child = self._usable_child()
        if child is not None:
            return child
        if self._trouble:
            raise EngineError(self._trouble, retryable=False)
        raise self._last_error or EngineError("the engine was stopped", retryable=False)

    def _usable_child(self) -> Child | None:
        """The child, unless it has ended and its supervisor is about to notice."""
        return self._child if self._child is not None and not self._child.ended else None

    async def _supervise(self) -> None:
        """Keeps a child alive until cancelled. A load that fails is tried again for ever: memory comes back, and a
        file is copied anew."""
        pause_s = BACKOFF_FIRST_S
        try:
            while True:
                try:
                    lived = await self._run_one_child()
                except Exception as error:  # a defect of ours costs this attempt, not all to come
                    log.error("the supervision of the model process stumbled: %r", error)
                    await self._failed(
                        EngineError(f"the model process cannot be looked after: {error!r}", retryable=True)
                    )
                    lived = False
                pause_s = BACKOFF_FIRST_S if lived else min(2 * pause_s, BACKOFF_MAX_S)
                await asyncio.sleep(pause_s)
        finally:
            await self._tell()

    async def _run_one_child(self) -> bool:
        """Starts a child and stays with it until it ends; says whether it was a healthy one."""
        loop = asyncio.get_running_loop()
        slow = loop.call_later(self._reload_quiet_s, self._loads_slowly)
        try:
            reading_s = _check_file(self._model_path) / LOAD_BYTES_PER_S_MIN
            await self._check_content()
            child = await Child.start(
                Load(str(self._model_path), self._threads, self._context_tokens, self._instruction),
                loading=LoadBounds(LOAD_STILL_S, COMPUTED_MAX_S + reading_s, WAITED_MAX_S + reading_s),
                stall_timeout_s=self._stall_timeout_s,
            )
        except EngineError as error:
            await self._failed(error)
            return False
        finally:
            slow.cancel()
        born = loop.time()
        self.restarts += 1 if self._children else 0
        self._children += 1
        if child.open_doors and self._children == 1:
            log.warning("the model process is not confined in full: %s (docs/SECURITY.md)", child.open_doors)
        self._child, self._last_error = child, None
        self._attempts += 1
        self._set_trouble("")
        try:  # from here on, whatever happens, the child gets closed
            await self._tell()
            await child.wait_ended()
        finally:
            self._child = None
            await child.close()
        self._last_error = EngineError(child.obituary(), retryable=True)
        log.warning("%s; the model is loaded again", child.obituary())
        return child.completed > 0 or loop.time() - born >= HEALTHY_AFTER_S

    async def _check_content(self) -> None:
        """Has the file held against its checksum. On a thread: it may have to be read from end to end."""
        if self._verify is None:
            return
        gone = threading.Event()
        try:
            await asyncio.to_thread(self._verify, gone.is_set)
        except MoameshError as error:
            raise EngineError(str(error), retryable=False) from error
        finally:
            gone.set()

    async def _failed(self, error: EngineError) -> None:
        """Notes a load that failed. At the first start the caller of `start` hears of it, later whoever watches."""
        self._last_error = error
        self._attempts += 1
        if self._is_started:
            self._set_trouble(f"{error.detail} (loading is tried again)")
        await self._tell()

    def _loads_slowly(self) -> None:
        if self._is_started:
            why = self._last_error.detail if self._last_error else "the model process ended"
            self._set_trouble(f"{why}; the model is being loaded again")
            self._telling = asyncio.create_task(self._tell())

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_health(trouble)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _check_file(path: Path) -> int:
    """Returns the size of a model file in bytes, after the checks that need no llama.cpp."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
        size = path.stat().st_size
    except OSError as error:
        raise EngineError(f"cannot read the model {path}: {error.strerror}", retryable=False) from None
    if magic != GGUF_MAGIC:
        raise EngineError(f"{path} is not a GGUF model file", retryable=False)
    return size


def _to_infer(request_id: int, request: StartInference) -> Infer:
    return Infer(
        id=request_id,
        messages=[[message.role.value, message.content] for message in request.messages],
        references=list(request.references),
        max_output_tokens=request.sampling.max_output_tokens,
        temperature=request.sampling.temperature,
        seed=request.sampling.seed,
        stop=list(request.sampling.stop),
    )
